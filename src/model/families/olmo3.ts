import { CheckpointError } from '../../errors.js';
import { count } from './common.js';
import { bothBiases, decoder, gated, grouped, headsOf, layer, layersOf, rms, separateHeads } from './decoder.js';
import { family } from './family.js';
import { normedAfter, OLMO2_NAMES, olmo2Keys } from './olmo2.js';
import { layeredRopeKeys, layeredRopes } from './rope-by-layer.js';
import { attentionTypes, layerTypesOf, visibilitiesOf } from './windows.js';

const THETA = 500000;

/** OLMo 3 (OLMo Team 2025): OLMo 2 with windows in three of four layers, whose rope stays as it is where that of the fourth is stretched. */
export const olmo3 = family({
  modelType: 'olmo3',

  keys: {
    ...olmo2Keys,
    ...layeredRopeKeys,
    sliding_window: count.nullable().default(4096),
    layer_types: attentionTypes,
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps, { stores: 'once' });
    const heads = headsOf(keys, origin);
    const types = layerTypesOf(keys, origin, (i) => ((i + 1) % 4 === 0 ? 'full_attention' : 'sliding_attention'));
    const visibilities = visibilitiesOf(types, keys.sliding_window, origin);
    const windows = keys.rope_parameters?.sliding_attention?.rope_theta;
    if (types.includes('sliding_attention') && windows === undefined && (keys.rope_theta ?? THETA) !== THETA) {
      throw new CheckpointError(
        `${origin.file}: rope_theta = ${keys.rope_theta} is taken for all layers by transformers 4, and by transformers 5 for those with full attention ` +
          'alone; say in rope_parameters.sliding_attention which it is for those with windows.',
      );
    }
    const shape = { dim: heads.headDim, context: keys.max_position_embeddings, theta: THETA, stores: 'once' } as const;
    const { keys: rope, ropes } = layeredRopes(keys, shape, { given: undefined, otherwise: THETA }, origin);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(null, {
        attention: grouped(heads, ropes[types[i]!], {
          qkNorm: { norm, scope: 'heads-together', place: 'before-rope' },
        }),
        attentionBias: bothBiases(keys.attention_bias),
        visibility: visibilities[i]!,
        feedForward: gated(keys.intermediate_size, keys.hidden_act),
        ...normedAfter(norm),
      }),
    );
    return decoder({ ...keys, ...rope }, { layers, finalNorm: norm }, origin);
  },

  names: OLMO2_NAMES,
  keyValueHeads: separateHeads,
});
