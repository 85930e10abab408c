import { z } from 'zod';
import { LLAMA_NAMES } from './bind.js';
import { flag } from './common.js';
import { bothBiases, decoderKeys, gated, grouped, headsOf, layer, rms, separateHeads, uniform } from './decoder.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';

/** Llama (Touvron et al. 2023) and all that took its form: RMS norms before each part, rope, gated feed-forward, no dropout. */
export const llama = family({
  modelType: 'llama',

  keys: {
    ...decoderKeys,
    attention_bias: flag.default(false),
    mlp_bias: flag.default(false),
    // What SmolLM2's files say of themselves; interleaved pairs would be another rotation.
    is_llama_config: z.literal(true).optional(),
    rope_interleaved: z.literal(false, 'only the half-split layout of rope is supported').optional(),
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const each = layer(norm, {
      attention: grouped(heads, rope),
      attentionBias: bothBiases(keys.attention_bias),
      feedForward: gated(keys.intermediate_size, keys.hidden_act, keys.mlp_bias),
    });
    return uniform(keys, each, norm, origin);
  },

  names: LLAMA_NAMES,
  keyValueHeads: separateHeads,
});
