import { z } from 'zod';
import { LLAMA_NAMES } from './bind.js';
import { anything, count, eps, factor, flag } from './common.js';
import { bareKeys, bothBiases, gated, grouped, headsOf, layer, layerNorm, separateHeads, uniform } from './decoder.js';
import { family } from './family.js';
import { ropeOf } from './rope-config.js';

export const cohereKeys = {
  ...bareKeys,
  max_position_embeddings: count.default(8192),
  layer_norm_eps: eps.default(1e-5),
  logit_scale: factor.default(0.0625),
  attention_bias: flag.default(false),
  tie_word_embeddings: flag.default(true),
  // What published files say of the code they were trained with, and transformers takes for granted.
  position_embedding_type: z.literal('rope_gptj').optional(),
  rotary_pct: z.literal(1).optional(),
  use_gated_activation: z.literal(true).optional(),
  use_parallel_block: z.literal(true).optional(),
  use_embedding_sharing: anything, // tie_word_embeddings is what counts
  use_parallel_embedding: anything,
};

/**
 * Command R and Aya (Cohere 2024, model cards): parallel parts after one layer norm without biases, rope on neighbouring values, logits times a
 * factor. Command R+ norms each query and key head with weights of its own.
 */
export const cohere = family({
  modelType: 'cohere',
  keys: { ...cohereKeys, use_qk_norm: flag.nullable().default(false) },

  configure(keys, origin) {
    const norm = layerNorm(keys.layer_norm_eps, { bias: false });
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, context: keys.max_position_embeddings, theta: 500000 };
    const qkNorm = keys.use_qk_norm ? ({ norm, scope: 'each-head', place: 'before-rope' } as const) : null;
    const each = layer(norm, {
      attention: grouped(heads, ropeOf(keys, { ...shape, pairs: 'interleaved', stores: 'tables' }, origin), { qkNorm }),
      attentionBias: bothBiases(keys.attention_bias),
      feedForward: gated(keys.intermediate_size, keys.hidden_act),
      parallel: 'one-norm',
    });
    return uniform(keys, each, norm, origin, { head: { scale: keys.logit_scale } });
  },

  names: LLAMA_NAMES,
  keyValueHeads: separateHeads,
});
