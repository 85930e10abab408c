/** What families that took Llama's form share: sizes of grouped heads, and tensor names. */
import type { GroupedConfig, GroupedWeights } from '../../../attention/strategy/strategy.js';
import type { VisibilityConfig } from '../../../attention/visibility/index.js';
import { CheckpointError } from '../../errors.js';
import type { Activation } from '../../math/elementwise.js';
import { deepFreeze, type GatedConfig, type LayerConfig, type ModelConfig } from '../config.js';
import type { FeedForwardWeights, GatedWeights, LayerWeights, ModelWeights, WeightReader } from '../weights.js';
import { readHead } from './common.js';
import { type RopeKeys, ropeOf } from './rope-config.js';

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

/** The keys that say how wide and deep a model is. */
interface ModelKeys {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly tie_word_embeddings: boolean;
  readonly max_position_embeddings: number;
}

/** A frozen model of these layers, whose final norm is that of its layers. */
export function modelOf(family: string, keys: ModelKeys, layers: readonly LayerConfig[]): ModelConfig {
  return deepFreeze<ModelConfig>({
    family,
    vocabulary: keys.vocab_size,
    width: keys.hidden_size,
    layers,
    finalNorm: layers[0]!.norm,
    tied: keys.tie_word_embeddings,
    context: keys.max_position_embeddings,
  });
}

interface PlainLayerKeys extends HeadKeys, RopeKeys {
  readonly intermediate_size: number;
  readonly hidden_act: Activation;
  readonly max_position_embeddings: number;
  readonly rms_norm_eps: number;
}

/** Llama's layer: grouped heads with rope, and a gated feed-forward. */
export function plainLayer(
  keys: PlainLayerKeys,
  visibility: VisibilityConfig,
  biases: { readonly attention: boolean; readonly feedForward: boolean },
  file: string,
): LayerConfig {
  const heads = headsOf(keys, file);
  const rope = ropeOf(keys, { dim: heads.headDim, context: keys.max_position_embeddings }, file);
  return {
    norm: { kind: 'rms', eps: keys.rms_norm_eps },
    attention: { kind: 'grouped', ...heads, scale: 1 / Math.sqrt(heads.headDim), rope },
    attentionBias: biases.attention,
    visibility,
    feedForward: {
      kind: 'gated',
      width: keys.intermediate_size,
      activation: keys.hidden_act,
      clamp: null,
      bias: biases.feedForward,
    },
  };
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
