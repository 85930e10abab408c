import { z } from 'zod';
import { validate } from '../../checkpoint/json-file.js';
import { deepFreeze, type LayerConfig, type ModelConfig } from '../config.js';
import { activation, anything, count, flag, inertKeys } from './common.js';
import { bindDecoder, bindPlainLayer, headsOf } from './decoder.js';
import type { Family } from './family.js';
import { ropeKeys, ropeOf } from './rope-config.js';

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
    const layer = layerOf(keys, file);
    return deepFreeze<ModelConfig>({
      family: 'llama',
      vocabulary: keys.vocab_size,
      width: keys.hidden_size,
      layers: Array.from({ length: keys.num_hidden_layers }, () => layer),
      finalNorm: layer.norm,
      tied: keys.tie_word_embeddings,
      context: keys.max_position_embeddings,
    });
  },

  bind(config, reader) {
    reader.source.ignore((name) => /^model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$/.test(name)); // an old buffer
    return bindDecoder(config, reader, (layer, name) => bindPlainLayer(layer, config.width, name, reader));
  },

  keyValueHeads: { key: 'num_key_value_heads', projections: ['k_proj', 'v_proj'] },
};

function layerOf(keys: z.output<typeof schema>, file: string): LayerConfig {
  const heads = headsOf(keys, file);
  return {
    norm: { kind: 'rms', eps: keys.rms_norm_eps },
    attention: {
      kind: 'grouped',
      ...heads,
      scale: 1 / Math.sqrt(heads.headDim),
      rope: ropeOf(keys, { dim: heads.headDim, context: keys.max_position_embeddings }, file),
    },
    attentionBias: keys.attention_bias,
    visibility: { kind: 'causal' },
    feedForward: {
      kind: 'gated',
      width: keys.intermediate_size,
      activation: keys.hidden_act,
      clamp: null,
      bias: keys.mlp_bias,
    },
  };
}
