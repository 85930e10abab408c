import { LLAMA_NAMES } from './bind.js';
import { count } from './common.js';
import { decoderKeys, gated, grouped, headsOf, layer, rms, separateHeads, uniform } from './decoder.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';
import { windowed } from './windows.js';

/** Mistral (Jiang et al. 2023): Llama with a sliding window, in which the current token counts (`q - k < sliding_window`). */
export const mistral = family({
  modelType: 'mistral',

  keys: {
    ...decoderKeys,
    num_key_value_heads: count.nullable().default(8),
    max_position_embeddings: count.default(4096 * 32),
    sliding_window: count.nullable().default(4096), // a file without it has this one
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const each = layer(norm, {
      attention: grouped(heads, rope),
      visibility: windowed(keys.sliding_window),
      feedForward: gated(keys.intermediate_size, keys.hidden_act),
    });
    return uniform(keys, each, norm, origin);
  },

  names: LLAMA_NAMES,
  keyValueHeads: separateHeads,
});
