import { z } from 'zod';
import { anything, count } from './common.js';
import { bothBiases, branch, decoder, gated, grouped, headsOf, layer, layersOf, separateHeads } from './decoder.js';
import { family } from './family.js';
import { gemmaEmbedding, gemmaNorm } from './gemma.js';
import { GEMMA2_NAMES, gemma2Keys } from './gemma2.js';
import { layeredRopeKeys, layeredRopes } from './rope-by-layer.js';
import { layerTypesOf, visibilitiesOf } from './windows.js';

/**
 * Gemma 3 (Gemma Team 2025), the language model alone: Gemma 2 with five layers of windows to one that sees everything, a rope of its own
 * for each type of layer, and norms of queries and keys in place of the tanh around scores.
 */
export const gemma3Text = family({
  modelType: 'gemma3_text',

  keys: {
    ...gemma2Keys,
    ...layeredRopeKeys,
    rope_local_base_freq: z.number().positive().optional(), // theta of layers with windows, in older files
    max_position_embeddings: count.default(131072),
    sliding_window_pattern: count.default(6),
    _sliding_window_pattern: anything, // the same again, beside layer_types
    attn_logit_softcapping: z.null('transformers does not cap the scores of Gemma 3, whatever is set').optional(),
  },

  configure(keys, origin) {
    const norm = gemmaNorm(keys);
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, context: keys.max_position_embeddings, theta: 1e6 };
    const windows = { given: keys.rope_local_base_freq, otherwise: 1e4 };
    const { keys: rope, ropes } = layeredRopes(keys, shape, windows, origin);
    const types = layerTypesOf(keys, origin, (i) =>
      (i + 1) % keys.sliding_window_pattern === 0 ? 'full_attention' : 'sliding_attention',
    );
    const visibilities = visibilitiesOf(types, keys.sliding_window, origin);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention: grouped(heads, ropes[types[i]!], {
          scale: 1 / Math.sqrt(keys.query_pre_attn_scalar),
          qkNorm: { norm, scope: 'head', place: 'before-rope' },
        }),
        attentionBias: bothBiases(keys.attention_bias),
        visibility: visibilities[i]!,
        feedForward: gated(keys.intermediate_size, keys.hidden_activation),
        attentionBranch: branch({ inputNorm: norm, outputNorm: norm }),
        feedForwardBranch: branch({ inputNorm: norm, outputNorm: norm }),
      }),
    );
    const head = { softcap: keys.final_logit_softcapping ?? null };
    return decoder({ ...keys, ...rope }, { layers, finalNorm: norm, embedding: gemmaEmbedding(keys), head }, origin);
  },

  names: GEMMA2_NAMES,
  keyValueHeads: separateHeads,
});
