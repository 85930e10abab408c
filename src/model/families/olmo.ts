import { LLAMA_NAMES } from './bind.js';
import { factor, flag } from './common.js';
import {
  bothBiases,
  decoderKeys,
  gated,
  grouped,
  headsOf,
  layer,
  layerNorm,
  separateHeads,
  uniform,
} from './decoder.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';

const { rms_norm_eps: _, ...withoutEps } = decoderKeys;

/** Keys of all OLMos. */
export const olmoKeys = { ...withoutEps, attention_bias: flag.default(false) };

/** OLMo (Groeneveld et al. 2024): Llama with layer norms that learn nothing, and with queries, keys and values kept within bounds. */
export const olmo = family({
  modelType: 'olmo',
  keys: { ...olmoKeys, clip_qkv: factor.nullish() },

  configure(keys, origin) {
    const norm = layerNorm(1e-5, { weight: false, bias: false });
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin, { stores: 'once' });
    const each = layer(norm, {
      attention: grouped(heads, rope, { clip: keys.clip_qkv ?? null }),
      attentionBias: bothBiases(keys.attention_bias),
      feedForward: gated(keys.intermediate_size, keys.hidden_act),
    });
    return uniform(keys, each, norm, origin);
  },

  names: LLAMA_NAMES,
  keyValueHeads: separateHeads,
});
