import { z } from 'zod';
import { LLAMA_NAMES } from './bind.js';
import { cohereKeys } from './cohere.js';
import { anything, count } from './common.js';
import { bothBiases, decoder, gated, grouped, headsOf, layer, layerNorm, layersOf, separateHeads } from './decoder.js';
import { family } from './family.js';
import { ropeOf } from './rope-config.js';
import { attentionTypes, layerTypesOf, windowed } from './windows.js';

/** Command R7B and Command A (Cohere 2025, "Command A", section 2.1): Cohere with windows and rope in three layers of four, and neither in the fourth. */
export const cohere2 = family({
  modelType: 'cohere2',

  keys: {
    ...cohereKeys,
    sliding_window: count.default(4096),
    sliding_window_pattern: count.default(4), // of files without layer_types: each fourth layer sees everything
    layer_types: attentionTypes,
    use_qk_norm: z.literal(false, 'transformers knows no query and key norms in this family').nullish(),
    order_of_interleaved_layers: z.literal('local_attn_first').optional(),
    layer_switch: anything, // sliding_window_pattern again
  },

  configure(keys, origin) {
    const norm = layerNorm(keys.layer_norm_eps, { bias: false });
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, context: keys.max_position_embeddings };
    const rope = ropeOf(keys, { ...shape, pairs: 'interleaved', stores: 'tables' }, origin);
    const types = layerTypesOf(keys, origin, (i) =>
      (i + 1) % keys.sliding_window_pattern === 0 ? 'full_attention' : 'sliding_attention',
    );
    const layers = layersOf(keys.num_hidden_layers, (i) => {
      const local = types[i] === 'sliding_attention';
      return layer(norm, {
        attention: grouped(heads, local ? rope : null),
        attentionBias: bothBiases(keys.attention_bias),
        visibility: windowed(local ? keys.sliding_window : null),
        feedForward: gated(keys.intermediate_size, keys.hidden_act),
        parallel: 'one-norm',
      });
    });
    return decoder(keys, { layers, finalNorm: norm, head: { scale: keys.logit_scale } }, origin);
  },

  names: LLAMA_NAMES,
  keyValueHeads: separateHeads,
});
