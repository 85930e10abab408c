import type { z } from 'zod';
import type { LayerConfig } from '../config.js';
import { type DecoderNames, LLAMA_NAMES } from './bind.js';
import { count, eps, flag, type Origin } from './common.js';
import { decoderKeys, gated, grouped, headsOf, layer, rms, separateHeads, uniform } from './decoder.js';
import { family } from './family.js';
import { ropeOf } from './rope-config.js';

export const glmKeys = {
  ...decoderKeys,
  num_key_value_heads: count.nullable().default(2),
  head_dim: count.nullable().default(128),
  max_position_embeddings: count.default(131072),
  rms_norm_eps: eps.default(1.5625e-7),
  attention_bias: flag.default(true),
};

export const GLM_NAMES: DecoderNames = {
  ...LLAMA_NAMES,
  feedForward: { dense: { packed: 'mlp.gate_up_proj', down: 'mlp.down_proj' } },
};

/** Rope on neighbouring values of half a head, and biases of queries, keys and values alone. */
export function glmLayer(
  keys: z.output<z.ZodObject<typeof glmKeys>>,
  origin: Origin,
  branches: Partial<LayerConfig> = {},
): LayerConfig {
  const heads = headsOf(keys, origin);
  const shape = { dim: heads.headDim, partial: 0.5, context: keys.max_position_embeddings };
  return layer(rms(keys.rms_norm_eps), {
    attention: grouped(heads, ropeOf(keys, { ...shape, pairs: 'interleaved' }, origin)),
    attentionBias: { qkv: keys.attention_bias, output: false },
    feedForward: gated(keys.intermediate_size, keys.hidden_act),
    ...branches,
  });
}

/** GLM-4 (GLM Team 2024, "ChatGLM") in the form that transformers reads, and GLM-Edge: Llama with another rope, and gate and up in one matrix. */
export const glm = family({
  modelType: 'glm',
  keys: glmKeys,

  configure(keys, origin) {
    const each = glmLayer(keys, origin);
    return uniform(keys, each, rms(keys.rms_norm_eps), origin);
  },

  names: GLM_NAMES,
  keyValueHeads: separateHeads,
});
