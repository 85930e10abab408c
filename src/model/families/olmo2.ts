import type { NormConfig } from '../../math/norm.js';
import { type DecoderNames, LLAMA_NAMES } from './bind.js';
import { eps } from './common.js';
import { bothBiases, branch, gated, grouped, headsOf, layer, rms, separateHeads, uniform } from './decoder.js';
import { family } from './family.js';
import { olmoKeys } from './olmo.js';
import { ropeOfHeads } from './rope-config.js';

export const olmo2Keys = { ...olmoKeys, rms_norm_eps: eps.default(1e-5) };

/** Norms stand after each part, and none before. */
export const OLMO2_NAMES: DecoderNames = {
  ...LLAMA_NAMES,
  attentionNorms: { output: 'post_attention_layernorm' },
  feedForwardNorms: { output: 'post_feedforward_layernorm' },
};

export function normedAfter(norm: NormConfig) {
  return { attentionBranch: branch({ outputNorm: norm }), feedForwardBranch: branch({ outputNorm: norm }) };
}

/**
 * OLMo 2 (OLMo Team 2024): what attention and feed-forward make is normed, not what they take; and so are queries and keys, all heads of a token
 * as one row.
 */
export const olmo2 = family({
  modelType: 'olmo2',
  keys: olmo2Keys,

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps, { stores: 'once' });
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin, { stores: 'once' });
    const each = layer(null, {
      attention: grouped(heads, rope, { qkNorm: { norm, scope: 'heads-together', place: 'before-rope' } }),
      attentionBias: bothBiases(keys.attention_bias),
      feedForward: gated(keys.intermediate_size, keys.hidden_act),
      ...normedAfter(norm),
    });
    return uniform(keys, each, norm, origin);
  },

  names: OLMO2_NAMES,
  keyValueHeads: separateHeads,
});
