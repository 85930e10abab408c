import { z } from 'zod';
import type { LatentConfig, LatentWeights } from '../../../attention/strategy/strategy.js';
import { validate } from '../../checkpoint/json-file.js';
import { CheckpointError } from '../../errors.js';
import type { ExpertsConfig, FeedForwardConfig, GatedConfig, LayerConfig } from '../config.js';
import type { ExpertsWeights, WeightReader } from '../weights.js';
import { activation, anything, count, flag, inertKeys } from './common.js';
import { bindDecoder, bindGated, modelOf } from './decoder.js';
import type { Family } from './family.js';
import { ropeKeys, ropeOf, yarnScoreFactor } from './rope-config.js';

const some = z.int().nonnegative().max(4096);

/** `DeepseekV3Config` of transformers, with its defaults where every published file leaves a key out. */
const schema = z.strictObject({
  ...inertKeys,
  ...ropeKeys,
  model_type: z.literal('deepseek_v3'),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count.max(4096),
  num_attention_heads: count,
  num_key_value_heads: anything, // every head has its own key and value, whatever it says
  kv_lora_rank: count,
  q_lora_rank: count.nullish(),
  qk_nope_head_dim: count,
  qk_rope_head_dim: count,
  v_head_dim: count,
  hidden_act: activation.default('silu'),
  max_position_embeddings: count.default(4096),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: flag.default(false),
  attention_bias: flag.default(false),
  rope_interleave: flag.default(true),
  first_k_dense_replace: some.default(3),
  moe_intermediate_size: count,
  n_routed_experts: count.max(65536),
  n_shared_experts: count.default(1),
  num_experts_per_tok: count.default(8),
  n_group: count.default(8),
  topk_group: count.default(4),
  norm_topk_prob: flag.default(true),
  routed_scaling_factor: z.number().positive().default(2.5),
  num_nextn_predict_layers: some.default(0),
  // Derived by transformers, and said again in the file.
  head_dim: anything,
  qk_head_dim: anything,
  // What the published files say, and transformers takes for granted.
  moe_layer_freq: z.literal(1).optional(),
  scoring_func: z.literal('sigmoid').optional(),
  topk_method: z.literal('noaux_tc').optional(),
  // Training, and how the work is spread.
  aux_loss_alpha: anything,
  ep_size: anything,
  output_router_logits: anything,
  pretraining_tp: anything,
  seq_aux: anything,
});

type Keys = z.output<typeof schema>;

/** The norms inside attention keep this, whatever rms_norm_eps says (`DeepseekV3Attention` of transformers). */
const LATENT_NORM_EPS = 1e-6;

/** DeepSeek-V3 (DeepSeek-AI 2024): multi-head latent attention, and after some dense layers experts with a shared one. */
export const deepseekV3: Family = {
  modelType: 'deepseek_v3',

  configure(raw, file) {
    const keys = validate(schema, raw, file);
    checkExperts(keys, file);
    const attention = attentionOf(keys, file);
    const layers = Array.from(
      { length: keys.num_hidden_layers },
      (_, i): LayerConfig => ({
        norm: { kind: 'rms', eps: keys.rms_norm_eps },
        attention,
        attentionBias: keys.attention_bias,
        visibility: { kind: 'causal' },
        feedForward: i < keys.first_k_dense_replace ? gatedOf(keys, keys.intermediate_size) : expertsOf(keys),
      }),
    );
    return modelOf('deepseek_v3', keys, layers);
  },

  bind(config, reader) {
    // The layers of multi-token prediction stand after those of the model, and no logit needs them.
    const beyond = (name: string) => Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? 0) >= config.layers.length;
    reader.source.ignore(beyond);
    return bindDecoder(config, reader, ({ attention, attentionBias, feedForward }, name) => ({
      attention: bindLatent(attention as LatentConfig, config.width, attentionBias, `${name}.self_attn`, reader),
      feedForward:
        feedForward.kind === 'gated'
          ? bindGated(feedForward, config.width, `${name}.mlp`, reader)
          : bindExperts(feedForward, config.width, `${name}.mlp`, reader),
    }));
  },
};

function checkExperts(keys: Keys, file: string): void {
  const { n_routed_experts: experts, n_group: groups, topk_group: open, num_experts_per_tok: chosen } = keys;
  if (experts % groups !== 0 || experts / groups < 2) {
    throw new CheckpointError(
      `${file}: n_routed_experts = ${experts} does not make n_group = ${groups} groups of two or more.`,
    );
  }
  if (open > groups || chosen > (experts / groups) * open) {
    throw new CheckpointError(
      `${file}: num_experts_per_tok = ${chosen} of topk_group = ${open} groups cannot be chosen from ${groups} groups of ${experts / groups}.`,
    );
  }
}

function attentionOf(keys: Keys, file: string): LatentConfig {
  const { qk_nope_head_dim: nopeDim, qk_rope_head_dim: ropeDim, max_position_embeddings: context } = keys;
  if (ropeDim % 2 !== 0) throw new CheckpointError(`${file}: qk_rope_head_dim = ${ropeDim} must be even.`);
  const pairs = keys.rope_interleave ? 'interleaved' : 'half-split';
  return {
    kind: 'latent',
    queryHeads: keys.num_attention_heads,
    queryRank: keys.q_lora_rank ?? null,
    latentRank: keys.kv_lora_rank,
    nopeDim,
    ropeDim,
    valueDim: keys.v_head_dim,
    scale: yarnScoreFactor(keys) / Math.sqrt(nopeDim + ropeDim),
    rope: ropeOf(keys, { dim: ropeDim, pairs, context }, file),
    normEps: LATENT_NORM_EPS,
  };
}

function gatedOf(keys: Keys, width: number): GatedConfig {
  return { kind: 'gated', width, activation: keys.hidden_act, clamp: null, bias: false };
}

function expertsOf(keys: Keys): FeedForwardConfig {
  return {
    kind: 'experts',
    count: keys.n_routed_experts,
    perToken: keys.num_experts_per_tok,
    router: {
      kind: 'grouped-sigmoid',
      groups: keys.n_group,
      groupsPerToken: keys.topk_group,
      normalise: keys.norm_topk_prob,
      scale: keys.routed_scaling_factor,
    },
    expert: gatedOf(keys, keys.moe_intermediate_size),
    shared: gatedOf(keys, keys.moe_intermediate_size * keys.n_shared_experts),
  };
}

function bindLatent(
  shape: LatentConfig,
  width: number,
  bias: boolean,
  name: string,
  reader: WeightReader,
): LatentWeights {
  const { queryHeads, queryRank, latentRank, nopeDim, ropeDim, valueDim } = shape;
  const queries = queryHeads * (nopeDim + ropeDim);
  return {
    kind: 'latent',
    query:
      queryRank === null
        ? reader.linear(`${name}.q_proj`, queries, width, false)
        : {
            down: reader.linear(`${name}.q_a_proj`, queryRank, width, bias),
            norm: reader.vector(`${name}.q_a_layernorm.weight`, queryRank),
            up: reader.linear(`${name}.q_b_proj`, queries, queryRank, false),
          },
    compress: reader.linear(`${name}.kv_a_proj_with_mqa`, latentRank + ropeDim, width, bias),
    latentNorm: reader.vector(`${name}.kv_a_layernorm.weight`, latentRank),
    expand: reader.linear(`${name}.kv_b_proj`, queryHeads * (nopeDim + valueDim), latentRank, false),
    output: reader.linear(`${name}.o_proj`, width, queryHeads * valueDim, bias),
  };
}

function bindExperts(config: ExpertsConfig, width: number, name: string, reader: WeightReader): ExpertsWeights {
  const { count: experts, expert, shared } = config;
  return {
    kind: 'experts',
    router: reader.linear(`${name}.gate`, experts, width, false),
    correction: reader.vector(`${name}.gate.e_score_correction_bias`, experts),
    experts: Array.from({ length: experts }, (_, e) => bindGated(expert, width, `${name}.experts.${e}`, reader)),
    shared: shared && bindGated(shared, width, `${name}.shared_experts`, reader),
  };
}
