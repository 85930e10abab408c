import { z } from 'zod';
import { CheckpointError } from '../../errors.js';
import { type DecoderNames, LLAMA_NAMES } from './bind.js';
import { codeTakenOver, count, eps, type Origin } from './common.js';
import { decoderKeys, gated, grouped, headsOf, layer, rms, uniform } from './decoder.js';
import { family } from './family.js';
import { type RopeKeys, ropeOf } from './rope-config.js';
import { windowed } from './windows.js';

const NAMES: DecoderNames = {
  ...LLAMA_NAMES,
  attention: { packed: 'self_attn.qkv_proj', order: 'by-part', output: 'self_attn.o_proj' },
  feedForward: { dense: { packed: 'mlp.gate_up_proj', down: 'mlp.down_proj' } },
};

/**
 * Phi-3, 3.5, 4 and 4-mini (Abdin et al. 2024): Llama with packed projections, windows in the first of them, and longrope with an original context that
 * stands at the top of the file.
 */
export const phi3 = family({
  modelType: 'phi3',

  keys: {
    ...decoderKeys,
    max_position_embeddings: count.default(4096),
    original_max_position_embeddings: count.default(4096),
    rms_norm_eps: eps.default(1e-5),
    sliding_window: count.nullish(),
    auto_map: codeTakenOver('phi3'),
    // What the published files say, and transformers takes for granted.
    attention_bias: z.literal(false).optional(),
    lm_head_bias: z.literal(false).optional(),
    mlp_bias: z.literal(false).optional(),
    full_attn_mod: z.literal(1).optional(),
    interpolate_factor: z.literal(1).optional(),
  },

  configure(keys, origin) {
    expectLongRope(keys, origin);
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, partial: 1, context: keys.max_position_embeddings };
    const each = layer(norm, {
      attention: grouped(heads, ropeOf(keys, shape, origin)),
      visibility: windowed(keys.sliding_window),
      feedForward: gated(keys.intermediate_size, keys.hidden_act),
    });
    return uniform(keys, each, norm, origin);
  },

  names: NAMES,
});

/** What Phi-3 first called yarn was not what others call so; no other scaling was ever its own. */
function expectLongRope({ rope_parameters, rope_scaling }: RopeKeys, { file }: Origin): void {
  const { rope_type: type } = rope_parameters ?? rope_scaling ?? { rope_type: 'default' };
  if (type === 'default' || type === 'longrope') return;
  throw new CheckpointError(`${file}: rope_type = ${type}, and the rope of phi3 is default or longrope.`);
}
