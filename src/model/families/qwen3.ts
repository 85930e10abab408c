import { LLAMA_NAMES } from './bind.js';
import { count, flag } from './common.js';
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
import { ropeOfHeads } from './rope-config.js';
import { qwenVisibilities, qwenWindowKeys } from './windows.js';

/** Qwen3 (Yang et al. 2025): Qwen2 without its biases, with each head's queries and keys normed, and a head dim of its own. */
export const qwen3 = family({
  modelType: 'qwen3',

  keys: {
    ...decoderKeys,
    ...qwenWindowKeys,
    num_key_value_heads: count.nullable().default(32),
    head_dim: count.default(128),
    max_position_embeddings: count.default(32768),
    attention_bias: flag.default(false),
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const visibilities = qwenVisibilities(keys, origin);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention: grouped(heads, rope, { qkNorm: { norm, scope: 'head', place: 'before-rope' } }),
        attentionBias: bothBiases(keys.attention_bias),
        visibility: visibilities[i]!,
        feedForward: gated(keys.intermediate_size, keys.hidden_act),
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: LLAMA_NAMES,
  keyValueHeads: separateHeads,
});
