import { z } from 'zod';
import { LLAMA_NAMES } from './bind.js';
import { anything, count } from './common.js';
import { decoder, decoderKeys, gated, grouped, headsOf, layer, layersOf, rms, separateHeads } from './decoder.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';
import { qwenVisibilities, qwenWindowKeys } from './windows.js';

/** Qwen2 (Yang et al. 2024), and with it Qwen1.5 and Qwen2.5: Llama with biases on queries, keys and values, and windows that are off by default. */
export const qwen2 = family({
  modelType: 'qwen2',

  keys: {
    ...decoderKeys,
    ...qwenWindowKeys,
    num_key_value_heads: count.nullable().default(32),
    max_position_embeddings: count.default(32768),
    use_mrope: z.literal(false, 'rope of several axes, for images, is not supported').optional(),
    // How vLLM cuts very long texts (An et al. 2024, "Training-Free Long-Context Scaling"); transformers does not read it.
    dual_chunk_attention_config: anything,
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const visibilities = qwenVisibilities(keys, origin);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention: grouped(heads, rope),
        attentionBias: { qkv: true, output: false },
        visibility: visibilities[i]!,
        feedForward: gated(keys.intermediate_size, keys.hidden_act),
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: LLAMA_NAMES,
  keyValueHeads: separateHeads,
});
