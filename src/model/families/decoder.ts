/** What families that took Llama's form share: sizes of grouped heads, and tensor names. */
import type { GroupedConfig, GroupedWeights } from '../../../attention/strategy/strategy.js';
import { CheckpointError } from '../../errors.js';
import type { GatedConfig, LayerConfig, ModelConfig } from '../config.js';
import type { FeedForwardWeights, GatedWeights, LayerWeights, ModelWeights, WeightReader } from '../weights.js';
import { readHead } from './common.js';

interface HeadKeys {
  readonly hidden_size: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads?: number | null | undefined;
  readonly head_dim?: number | null | undefined;
}

/** H, G and K. @throws CheckpointError if they do not fit together */
export function headsOf(keys: HeadKeys, file: string): Pick<GroupedConfig, 'queryHeads' | 'keyValueHeads' | 'headDim'> {
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
  return { queryHeads, keyValueHeads, headDim };
}

/** Tensors as Llama names them; what a family names otherwise it binds itself. */
export function bindDecoder(
  { vocabulary, width, layers, tied }: ModelConfig,
  reader: WeightReader,
  bindLayer: (layer: LayerConfig, name: string) => Pick<LayerWeights, 'attention' | 'feedForward'>,
): ModelWeights {
  const embedding = reader.matrix('model.embed_tokens', vocabulary, width);
  return {
    embedding,
    layers: layers.map((layer, i) => {
      const name = `model.layers.${i}`;
      return {
        attentionNorm: reader.vector(`${name}.input_layernorm.weight`, width),
        feedForwardNorm: reader.vector(`${name}.post_attention_layernorm.weight`, width),
        ...bindLayer(layer, name),
      };
    }),
    finalNorm: reader.vector('model.norm.weight', width),
    head: readHead(reader, embedding, tied, 'lm_head'),
  };
}

/** `NAME.q_proj` to `NAME.o_proj`. */
export function bindGrouped(
  { queryHeads, keyValueHeads, headDim }: GroupedConfig,
  width: number,
  bias: boolean,
  name: string,
  reader: WeightReader,
): GroupedWeights {
  const [queries, keys] = [queryHeads * headDim, keyValueHeads * headDim];
  return {
    kind: 'grouped',
    query: reader.linear(`${name}.q_proj`, queries, width, bias),
    key: reader.linear(`${name}.k_proj`, keys, width, bias),
    value: reader.linear(`${name}.v_proj`, keys, width, bias),
    output: reader.linear(`${name}.o_proj`, width, queries, bias),
    sinks: null,
  };
}

/** `NAME.gate_proj` to `NAME.down_proj`. */
export function bindGated(config: GatedConfig, width: number, name: string, reader: WeightReader): GatedWeights {
  return {
    kind: 'gated',
    gate: reader.linear(`${name}.gate_proj`, config.width, width, config.bias),
    up: reader.linear(`${name}.up_proj`, config.width, width, config.bias),
    down: reader.linear(`${name}.down_proj`, width, config.width, config.bias),
  };
}

/** The feed-forward layer of families that have but gated ones, and the attention of those that have but grouped ones. */
export function bindPlainLayer(
  { attention, attentionBias, feedForward }: LayerConfig,
  width: number,
  name: string,
  reader: WeightReader,
): { attention: GroupedWeights; feedForward: FeedForwardWeights } {
  if (attention.kind !== 'grouped' || feedForward.kind !== 'gated') throw new Error(`${name}: not a plain layer`);
  return {
    attention: bindGrouped(attention, width, attentionBias, `${name}.self_attn`, reader),
    feedForward: bindGated(feedForward, width, `${name}.mlp`, reader),
  };
}
