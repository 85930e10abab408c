import { z } from 'zod';
import { CheckpointError } from '../../errors.js';
import { count, eps, type Origin } from './common.js';
import { decoder, decoderKeys, gated, grouped, headsOf, layer, layersOf, rms, separateHeads } from './decoder.js';
import { family } from './family.js';
import { normedAfter, OLMO2_NAMES } from './olmo2.js';
import { ropeOfHeads } from './rope-config.js';
import { type AttentionType, attentionTypes, layerTypesOf, visibilitiesOf } from './windows.js';

/**
 * EXAONE 4 (LG AI Research 2025): norms after each part, each head's queries and keys normed, windows in three of four layers, and rope in those
 * alone. A model without windows (`sliding_window` is null) has rope everywhere.
 */
export const exaone4 = family({
  modelType: 'exaone4',

  keys: {
    ...decoderKeys,
    num_key_value_heads: count.default(32),
    rms_norm_eps: eps.default(1e-5),
    sliding_window: count.nullable().default(4096),
    /** Every such layer sees everything; or the letters of layers, L for windows and G for everything, over and over. */
    sliding_window_pattern: z
      .union([count, z.string().regex(/^[LG]+$/, 'expected a number of layers, or letters L and G')])
      .nullable()
      .default(4),
    layer_types: attentionTypes,
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const types = layerTypesOf(keys, origin, (i) => patternAt(keys, i, origin));
    const visibilities = visibilitiesOf(types, keys.sliding_window, origin);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(null, {
        attention: grouped(heads, keys.sliding_window === null || types[i] === 'sliding_attention' ? rope : null, {
          qkNorm: { norm, scope: 'head', place: 'before-rope' },
        }),
        visibility: visibilities[i]!,
        feedForward: gated(keys.intermediate_size, keys.hidden_act),
        ...normedAfter(norm),
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: OLMO2_NAMES,
  keyValueHeads: separateHeads,
});

interface Pattern {
  readonly sliding_window: number | null;
  readonly sliding_window_pattern: number | string | null;
  readonly num_hidden_layers: number;
}

/** The type of a layer, where `layer_types` does not say it. The last one sees everything, whatever its letter (`Exaone4Config` of transformers). */
function patternAt(keys: Pattern, index: number, { file }: Origin): AttentionType {
  const { sliding_window: window, sliding_window_pattern: pattern, num_hidden_layers: layers } = keys;
  if (window === null) return 'full_attention';
  if (pattern === null) {
    throw new CheckpointError(
      `${file}: sliding_window = ${window}, and neither sliding_window_pattern nor layer_types says where.`,
    );
  }
  if (typeof pattern === 'number') return (index + 1) % pattern === 0 ? 'full_attention' : 'sliding_attention';
  return index < layers - 1 && pattern[index % pattern.length] === 'L' ? 'sliding_attention' : 'full_attention';
}
