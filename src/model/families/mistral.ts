import { z } from 'zod';
import type { VisibilityConfig } from '../../../attention/visibility/index.js';
import { validate } from '../../checkpoint/json-file.js';
import { activation, count, flag, inertKeys } from './common.js';
import { bindDecoder, bindPlainLayer, modelOf, plainLayer } from './decoder.js';
import type { Family } from './family.js';
import { ropeKeys } from './rope-config.js';

/** `MistralConfig` of transformers, with its defaults: a file without `sliding_window` has one of 4,096. */
const schema = z.strictObject({
  ...inertKeys,
  ...ropeKeys,
  model_type: z.literal('mistral'),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count.max(4096),
  num_attention_heads: count,
  num_key_value_heads: count.nullable().default(8),
  head_dim: count.nullish(),
  hidden_act: activation.default('silu'),
  max_position_embeddings: count.default(4096 * 32),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: flag.default(false),
  sliding_window: count.nullable().default(4096),
});

/** Mistral (Jiang et al. 2023): Llama with a sliding window, in which the current token counts (`q - k < sliding_window`). */
export const mistral: Family = {
  modelType: 'mistral',

  configure(raw, file) {
    const keys = validate(schema, raw, file);
    const { sliding_window: window } = keys;
    const visibility: VisibilityConfig = window === null ? { kind: 'causal' } : { kind: 'sliding', window };
    const layer = plainLayer(keys, visibility, { attention: false, feedForward: false }, file);
    return modelOf('mistral', keys, Array(keys.num_hidden_layers).fill(layer));
  },

  bind(config, reader) {
    return bindDecoder(config, reader, (layer, name) => bindPlainLayer(layer, config.width, name, reader));
  },

  keyValueHeads: { key: 'num_key_value_heads', projections: ['k_proj', 'v_proj'] },
};
