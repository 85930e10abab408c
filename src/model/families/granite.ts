import type { z } from 'zod';
import type { FeedForwardConfig, ModelConfig } from '../config.js';
import { LLAMA_NAMES } from './bind.js';
import { factor, flag, type Origin } from './common.js';
import {
  bothBiases,
  branch,
  decoderKeys,
  gated,
  grouped,
  headsOf,
  layer,
  rms,
  separateHeads,
  uniform,
} from './decoder.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';

export const graniteKeys = {
  ...decoderKeys,
  attention_bias: flag.default(false),
  embedding_multiplier: factor.default(1),
  attention_multiplier: factor.default(1), // it stands for 1 / sqrt(head dim), and does not multiply it, where a file is silent too
  residual_multiplier: factor.default(1),
  logits_scaling: factor.default(1), // logits are divided by it
};

type Keys = z.output<z.ZodObject<typeof graniteKeys>>;

/** Llama's model with Granite's four factors, and these feed-forward layers. */
export function graniteModel(keys: Keys, feedForward: FeedForwardConfig, origin: Origin): Omit<ModelConfig, 'family'> {
  const norm = rms(keys.rms_norm_eps);
  const heads = headsOf(keys, origin);
  const scaled = branch({ inputNorm: norm, scale: keys.residual_multiplier });
  const each = layer(norm, {
    attention: grouped(heads, ropeOfHeads(keys, heads, origin), { scale: keys.attention_multiplier }),
    attentionBias: bothBiases(keys.attention_bias),
    feedForward,
    attentionBranch: scaled,
    feedForwardBranch: scaled,
  });
  const factors = { embedding: { scale: keys.embedding_multiplier }, head: { scale: 1 / keys.logits_scaling } };
  return uniform(keys, each, norm, origin, factors);
}

/** Granite 3 (IBM 2024): Llama with four factors, of what is embedded, of scores, of what a part adds, and of logits. */
export const granite = family({
  modelType: 'granite',
  keys: { ...graniteKeys, mlp_bias: flag.default(false) },

  configure: (keys, origin) =>
    graniteModel(keys, gated(keys.intermediate_size, keys.hidden_act, keys.mlp_bias), origin),

  names: LLAMA_NAMES,
  keyValueHeads: separateHeads,
});
