/** The checkpoints of a kit: small ones, one for each form of attention that implementations get wrong in ways of its own. */

export interface KitRecipe {
  readonly name: string;
  /** What it tests, for the table in the kit's README. */
  readonly tests: string;
  readonly dtype: 'F32' | 'BF16';
  /** Of config.json. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Of all checkpoints: wider than 32, so that sums have more than one block, and no number is one that is taken for granted elsewhere. */
const SIZES = { num_hidden_layers: 2, hidden_size: 40, vocab_size: 64, bos_token_id: null, eos_token_id: null };
const ROPE = { rope_parameters: { rope_type: 'default', rope_theta: 1000 }, max_position_embeddings: 128 };

const heads = (queries: number, keyValues: number, dim: number) => ({
  num_attention_heads: queries,
  num_key_value_heads: keyValues,
  head_dim: dim,
});

const named = (architecture: string, model_type: string, dtype: KitRecipe['dtype']) => ({
  architectures: [`${architecture}ForCausalLM`],
  model_type,
  dtype: dtype === 'F32' ? 'float32' : 'bfloat16',
});

const llama = (dtype: KitRecipe['dtype'], queries: number, keyValues: number, dim: number) => ({
  ...named('Llama', 'llama', dtype),
  ...SIZES,
  ...ROPE,
  ...heads(queries, keyValues, dim),
  intermediate_size: 56,
  hidden_act: 'silu',
  rms_norm_eps: 1e-3,
  tie_word_embeddings: false,
});

/** In the order in which they are best made to pass. */
export const KIT_RECIPES: readonly KitRecipe[] = [
  {
    name: 'mha',
    tests: 'Llama with a key and a value for each query head: RMS norm, rope (halves), causal softmax, gated SiLU',
    dtype: 'F32',
    config: llama('F32', 4, 4, 10),
  },
  {
    name: 'gqa',
    tests:
      '8 query heads share 2 key/value heads (query head h reads head floor(h / 4)), and are wider together (48) than the model (40)',
    dtype: 'F32',
    config: llama('F32', 8, 2, 6),
  },
  {
    name: 'mqa',
    tests: 'all 5 query heads share one key/value head; weights in BF16',
    dtype: 'BF16',
    config: llama('BF16', 5, 1, 12),
  },
  {
    name: 'learned',
    tests: 'GPT-2: learned positions, LayerNorm, biases, matrices stored inputs first, GELU (tanh), a tied head',
    dtype: 'F32',
    config: {
      architectures: ['GPT2LMHeadModel'],
      model_type: 'gpt2',
      dtype: 'float32',
      n_embd: 36,
      n_head: 4,
      n_layer: 2,
      n_positions: 64,
      n_inner: 56,
      vocab_size: 64,
      activation_function: 'gelu_new',
      layer_norm_epsilon: 1e-3,
      bos_token_id: null,
      eos_token_id: null,
      tie_word_embeddings: true,
    },
  },
  {
    name: 'qk-norm',
    tests: "Qwen 3: an RMS norm of each head's query and key before rope",
    dtype: 'BF16',
    config: {
      ...llama('BF16', 4, 2, 12),
      ...named('Qwen3', 'qwen3', 'BF16'),
      use_sliding_window: false,
      sliding_window: null,
      attention_bias: false,
    },
  },
  {
    name: 'window',
    tests: 'Mistral: a token sees itself and the 7 before it (sliding_window 8)',
    dtype: 'BF16',
    config: { ...llama('BF16', 4, 2, 10), ...named('Mistral', 'mistral', 'BF16'), sliding_window: 8 },
  },
  {
    name: 'alibi',
    tests:
      'BLOOM: ALiBi with 6 heads (no power of two), queries, keys and values packed by head, a norm after the embedding',
    dtype: 'BF16',
    config: {
      ...named('Bloom', 'bloom', 'BF16'),
      hidden_size: 36,
      n_head: 6,
      n_layer: 2,
      vocab_size: 64,
      layer_norm_epsilon: 1e-3,
      bos_token_id: null,
      eos_token_id: null,
      tie_word_embeddings: true,
    },
  },
  {
    name: 'parallel',
    tests: 'GPT-NeoX: attention and feed-forward side by side, rope on half of each head, GELU',
    dtype: 'BF16',
    config: {
      ...named('GPTNeoX', 'gpt_neox', 'BF16'),
      ...SIZES,
      hidden_size: 48,
      num_attention_heads: 4,
      intermediate_size: 56,
      hidden_act: 'gelu',
      layer_norm_eps: 1e-3,
      max_position_embeddings: 128,
      rope_parameters: { ...ROPE.rope_parameters, partial_rotary_factor: 0.5 },
      use_parallel_residual: true,
      attention_bias: true,
      tie_word_embeddings: false,
    },
  },
  {
    name: 'softcap',
    tests:
      'Gemma 2: scores and logits capped by a tanh, norms around 1 on both sides of each part, scaled embeddings, a window of 8 in layer 0',
    dtype: 'BF16',
    config: {
      ...named('Gemma2', 'gemma2', 'BF16'),
      ...SIZES,
      ...ROPE,
      ...heads(4, 2, 12),
      intermediate_size: 56,
      hidden_activation: 'gelu_pytorch_tanh',
      rms_norm_eps: 1e-3,
      query_pre_attn_scalar: 24,
      attn_logit_softcapping: 4.5,
      final_logit_softcapping: 3.5,
      sliding_window: 8,
      layer_types: ['sliding_attention', 'full_attention'],
      tie_word_embeddings: true,
    },
  },
  {
    name: 'sinks',
    tests:
      'gpt-oss: a learned sink for each head, a window of 8 in layer 0, yarn rope, biases, 2 of 4 experts with clamped gates',
    dtype: 'BF16',
    config: {
      ...named('GptOss', 'gpt_oss', 'BF16'),
      ...SIZES,
      ...heads(4, 2, 12),
      intermediate_size: 24,
      hidden_act: 'silu',
      rms_norm_eps: 1e-3,
      attention_bias: true,
      sliding_window: 8,
      layer_types: ['sliding_attention', 'full_attention'],
      num_local_experts: 4,
      num_experts_per_tok: 2,
      swiglu_limit: 2.5,
      swiglu_alpha: 1.702,
      max_position_embeddings: 128,
      rope_parameters: {
        ...ROPE.rope_parameters,
        rope_type: 'yarn',
        factor: 4,
        beta_fast: 32,
        beta_slow: 1,
        original_max_position_embeddings: 32,
        truncate: false,
      },
      tie_word_embeddings: false,
    },
  },
  {
    name: 'mla',
    tests:
      'DeepSeek-V3: latent attention (queries too), rope in pairs side by side, a dense layer, then 2 of 6 experts in 3 groups with a routing bias, 1 shared',
    dtype: 'BF16',
    config: {
      ...named('DeepseekV3', 'deepseek_v3', 'BF16'),
      ...SIZES,
      ...ROPE,
      num_attention_heads: 4,
      num_key_value_heads: 4,
      q_lora_rank: 20,
      kv_lora_rank: 24,
      qk_nope_head_dim: 12,
      qk_rope_head_dim: 8,
      v_head_dim: 10,
      rope_interleave: true,
      intermediate_size: 56,
      moe_intermediate_size: 16,
      first_k_dense_replace: 1,
      n_routed_experts: 6,
      n_shared_experts: 1,
      num_experts_per_tok: 2,
      n_group: 3,
      topk_group: 2,
      norm_topk_prob: true,
      routed_scaling_factor: 2.5,
      hidden_act: 'silu',
      rms_norm_eps: 1e-3,
      attention_bias: false,
      tie_word_embeddings: false,
    },
  },
];
