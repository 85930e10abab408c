import { z } from 'zod';
import { validate } from '../../checkpoint/json-file.js';
import { activation, anything, count, flag, inertKeys } from './common.js';
import { bindDecoder, bindPlainLayer, modelOf, plainLayer } from './decoder.js';
import type { Family } from './family.js';
import { ropeKeys } from './rope-config.js';

/** `LlamaConfig` of transformers, with its defaults. */
const schema = z.strictObject({
  ...inertKeys,
  ...ropeKeys,
  model_type: z.literal('llama'),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count.max(4096),
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  hidden_act: activation.default('silu'),
  max_position_embeddings: count.default(2048),
  rms_norm_eps: z.number().positive().default(1e-6),
  tie_word_embeddings: flag.default(false),
  attention_bias: flag.default(false),
  mlp_bias: flag.default(false),
  // Splits the same sums over devices, which changes nothing but their rounding.
  pretraining_tp: anything,
  // What SmolLM2's files say of themselves; interleaved pairs would be another rotation.
  is_llama_config: z.literal(true).optional(),
  rope_interleaved: z.literal(false, 'only the half-split layout of rope is supported').optional(),
});

/** Llama (Touvron et al. 2023) and all that took its form: RMS norms before each part, rope, gated feed-forward, no dropout. */
export const llama: Family = {
  modelType: 'llama',

  configure(raw, file) {
    const keys = validate(schema, raw, file);
    const biases = { attention: keys.attention_bias, feedForward: keys.mlp_bias };
    const layer = plainLayer(keys, { kind: 'causal' }, biases, file);
    return modelOf('llama', keys, Array(keys.num_hidden_layers).fill(layer));
  },

  bind(config, reader) {
    reader.source.ignore((name) => /^model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$/.test(name)); // an old buffer
    return bindDecoder(config, reader, (layer, name) => bindPlainLayer(layer, config.width, name, reader));
  },

  keyValueHeads: { key: 'num_key_value_heads', projections: ['k_proj', 'v_proj'] },
};
