import { z } from 'zod';
import { type DecoderNames, LLAMA_NAMES } from './bind.js';
import { anything, codeTakenOver, count, eps, flag } from './common.js';
import { bareKeys, gated, grouped, headsOf, layer, layerNorm, separateHeads, uniform } from './decoder.js';
import { family } from './family.js';
import { ropeOf } from './rope-config.js';

const NAMES: DecoderNames = {
  ...LLAMA_NAMES,
  attention: {
    ...LLAMA_NAMES.attention,
    queryNorm: (head) => `self_attn.q_layernorm.norms.${head}`,
    keyNorm: (head) => `self_attn.k_layernorm.norms.${head}`,
  },
};

/** StableLM (Bellagente et al. 2024, "Stable LM 2"): rope on a quarter of a head, layer norms; the 12B has parallel parts, and norms of each query and key head. */
export const stablelm = family({
  modelType: 'stablelm',

  keys: {
    ...bareKeys,
    num_key_value_heads: count.default(32),
    max_position_embeddings: count.default(4096),
    layer_norm_eps: eps.default(1e-5),
    use_qkv_bias: flag.default(false),
    qk_layernorm: flag.default(false),
    use_parallel_residual: flag.default(false),
    // What files from before transformers had the family say: transformers reads none of it.
    norm_eps: z.literal(1e-5, 'transformers reads layer_norm_eps, and 0.00001 without it').optional(),
    rope_pct: z.literal(0.25, 'transformers reads partial_rotary_factor, and 0.25 without it').optional(),
    rotary_scaling_factor: z.literal(1).optional(),
    num_heads: anything, // num_attention_heads again
    auto_map: codeTakenOver('stablelm'),
  },

  configure(keys, origin) {
    const norm = layerNorm(keys.layer_norm_eps);
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, partial: 0.25, context: keys.max_position_embeddings };
    const ofHeads = { norm: { ...norm, bias: false }, scope: 'each-head', place: 'before-rope' } as const;
    const each = layer(norm, {
      attention: grouped(heads, ropeOf(keys, shape, origin), { qkNorm: keys.qk_layernorm ? ofHeads : null }),
      attentionBias: { qkv: keys.use_qkv_bias, output: false },
      feedForward: gated(keys.intermediate_size, keys.hidden_act),
      parallel: keys.use_parallel_residual ? 'one-norm' : null,
    });
    return uniform(keys, each, norm, origin);
  },

  names: NAMES,
  keyValueHeads: separateHeads,
});
