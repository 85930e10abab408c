import { z } from 'zod';
import { validate } from '../../checkpoint/json-file.js';
import { CheckpointError } from '../../errors.js';
import { deepFreeze, type LayerConfig, type ModelConfig } from '../config.js';
import type { LayerWeights, WeightReader } from '../weights.js';
import { activation, anything, count, flag, inertKeys, readHead } from './common.js';
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
    const { vocabulary, width, tied } = config;
    reader.source.ignore(/^model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq$/); // a buffer that old files saved
    const embedding = reader.matrix('model.embed_tokens', vocabulary, width);
    return {
      embedding,
      layers: config.layers.map((layer, i) => bindLayer(layer, width, `model.layers.${i}`, reader)),
      finalNorm: reader.vector('model.norm.weight', width),
      head: readHead(reader, embedding, tied, 'lm_head'),
    };
  },
};

function layerOf(keys: z.output<typeof schema>, file: string): LayerConfig {
  const queryHeads = keys.num_attention_heads;
  const keyValueHeads = keys.num_key_value_heads ?? queryHeads;
  if (queryHeads % keyValueHeads !== 0) {
    throw new CheckpointError(
      `${file}: num_attention_heads = ${queryHeads} is not a multiple of num_key_value_heads = ${keyValueHeads}.`,
    );
  }
  const headDim = keys.head_dim ?? keys.hidden_size / queryHeads;
  if (headDim % 2 !== 0) {
    throw new CheckpointError(
      `${file}: the head dim ${headDim} (head_dim, or hidden_size / num_attention_heads) must be an even whole number.`,
    );
  }
  return {
    norm: { kind: 'rms', eps: keys.rms_norm_eps },
    attention: {
      kind: 'grouped',
      queryHeads,
      keyValueHeads,
      headDim,
      scale: 1 / Math.sqrt(headDim),
      rope: ropeOf(keys, headDim, keys.max_position_embeddings, file),
    },
    attentionBias: keys.attention_bias,
    visibility: { kind: 'causal' },
    feedForward: { kind: 'gated', width: keys.intermediate_size, activation: keys.hidden_act, bias: keys.mlp_bias },
  };
}

function bindLayer(
  { attention, attentionBias, feedForward }: LayerConfig,
  width: number,
  name: string,
  reader: WeightReader,
): LayerWeights {
  const queries = attention.queryHeads * attention.headDim;
  const keys = attention.keyValueHeads * attention.headDim;
  return {
    attentionNorm: reader.vector(`${name}.input_layernorm.weight`, width),
    attention: {
      query: reader.linear(`${name}.self_attn.q_proj`, queries, width, attentionBias),
      key: reader.linear(`${name}.self_attn.k_proj`, keys, width, attentionBias),
      value: reader.linear(`${name}.self_attn.v_proj`, keys, width, attentionBias),
      output: reader.linear(`${name}.self_attn.o_proj`, width, queries, attentionBias),
    },
    feedForwardNorm: reader.vector(`${name}.post_attention_layernorm.weight`, width),
    feedForward: {
      gate: reader.linear(`${name}.mlp.gate_proj`, feedForward.width, width, feedForward.bias),
      up: reader.linear(`${name}.mlp.up_proj`, feedForward.width, width, feedForward.bias),
      down: reader.linear(`${name}.mlp.down_proj`, width, feedForward.width, feedForward.bias),
    },
  };
}
