import { z } from 'zod';
import { LLAMA_NAMES } from './bind.js';
import { anything, count, flag } from './common.js';
import {
  bothBiases,
  decoder,
  decoderKeys,
  gated,
  grouped,
  headsOf,
  layer,
  layersOf,
  rms,
  separateHeads,
} from './decoder.js';
import { family } from './family.js';
import { rotatedLayers } from './rope-by-layer.js';
import { ropeOf } from './rope-config.js';
import { attentionTypes, layerTypesOf, visibilitiesOf } from './windows.js';

/** SmolLM3 (Hugging Face 2025): Llama with no rope in every fourth layer (Yang et al. 2025, "RoPE to NoRoPE and Back Again"). */
export const smollm3 = family({
  modelType: 'smollm3',

  keys: {
    ...decoderKeys,
    num_key_value_heads: count.nullable().default(4),
    max_position_embeddings: count.default(32768),
    tie_word_embeddings: flag.default(true),
    attention_bias: flag.default(false),
    mlp_bias: flag.default(false),
    no_rope_layers: z.array(z.literal([0, 1])).nullish(), // 1: the layer has rope
    no_rope_layer_interval: count.default(4),
    use_sliding_window: flag.default(false),
    sliding_window: count.nullish(),
    layer_types: attentionTypes,
    max_window_layers: anything, // of Qwen2's files, and not read
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const rope = ropeOf(keys, { dim: heads.headDim, context: keys.max_position_embeddings, theta: 2e6 }, origin);
    const rotated = rotatedLayers(keys, origin);
    const window = keys.use_sliding_window ? keys.sliding_window : null;
    const types = layerTypesOf(keys, origin, (i) =>
      window != null && !rotated[i] ? 'sliding_attention' : 'full_attention',
    );
    const visibilities = visibilitiesOf(types, window, origin);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention: grouped(heads, rotated[i] ? rope : null),
        attentionBias: bothBiases(keys.attention_bias),
        visibility: visibilities[i]!,
        feedForward: gated(keys.intermediate_size, keys.hidden_act, keys.mlp_bias),
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: LLAMA_NAMES,
  keyValueHeads: separateHeads,
});
