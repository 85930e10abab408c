/** Parts that families put their configs together of. */
import type { GroupedConfig } from '../../../attention/strategy/strategy.js';
import { CheckpointError, UsageError } from '../../errors.js';
import type { Activation } from '../../math/elementwise.js';
import type { NormConfig } from '../../math/norm.js';
import type { Rope } from '../../math/rope.js';
import type {
  BranchConfig,
  EmbeddingConfig,
  GatedConfig,
  HeadConfig,
  LayerConfig,
  ModelConfig,
  PlainConfig,
} from '../config.js';
import { activation, count, eps, flag, layerCount, type Origin } from './common.js';
import { contextOf, type RopeKeys, ropeKeys } from './rope-config.js';

/** Keys of Llama's config but for its norm, which most families have; what has another default in a family, the family says again. */
export const bareKeys = {
  ...ropeKeys,
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: layerCount,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  hidden_act: activation.default('silu'),
  max_position_embeddings: count.default(2048),
  tie_word_embeddings: flag.default(false),
};

/** The same of families with RMS norms. */
export const decoderKeys = { ...bareKeys, rms_norm_eps: eps.default(1e-6) };

/** Where families with projections of their own for keys and values keep them. */
export const separateHeads = { key: 'num_key_value_heads', projections: ['k_proj', 'v_proj'] } as const;

interface HeadKeys {
  readonly hidden_size: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads?: number | null | undefined;
  readonly head_dim?: number | null | undefined;
}

/** H, G and K. @throws CheckpointError if they do not fit together */
export function headsOf(
  keys: HeadKeys,
  { file }: Origin,
): Pick<GroupedConfig, 'queryHeads' | 'keyValueHeads' | 'headDim'> {
  const queryHeads = keys.num_attention_heads;
  const keyValueHeads = keys.num_key_value_heads ?? queryHeads;
  if (queryHeads % keyValueHeads !== 0) {
    throw new CheckpointError(
      `${file}: num_attention_heads = ${queryHeads} is not a multiple of num_key_value_heads = ${keyValueHeads}.`,
    );
  }
  const headDim = keys.head_dim ?? keys.hidden_size / queryHeads;
  if (!Number.isInteger(headDim)) {
    throw new CheckpointError(
      `${file}: the head dim ${headDim} (head_dim, or hidden_size / num_attention_heads) must be a whole number.`,
    );
  }
  return { queryHeads, keyValueHeads, headDim };
}

/** Grouped attention of these heads: scores by 1 / sqrt(K), and nothing else unless it is given. */
export function grouped(
  heads: ReturnType<typeof headsOf>,
  rope: Rope | null,
  more: Partial<GroupedConfig> = {},
): GroupedConfig {
  const none = { qkNorm: null, clip: null, softcap: null, alibi: null, temperature: null, sinks: false };
  return { kind: 'grouped', ...heads, scale: 1 / Math.sqrt(heads.headDim), rope, ...none, ...more };
}

export function gated(width: number, activation: Activation, bias = false): GatedConfig {
  return { kind: 'gated', width, activation, clamp: null, bias };
}

export function plain(width: number, activation: Activation, bias: boolean): PlainConfig {
  return { kind: 'plain', width, activation, bias };
}

export function rms(eps: number, more: Partial<NormConfig> = {}): NormConfig {
  return { kind: 'rms', eps, weight: true, bias: false, weightOffset: 0, ...more };
}

export function layerNorm(eps: number, more: Partial<NormConfig> = {}): NormConfig {
  return { kind: 'layer', eps, weight: true, bias: true, weightOffset: 0, ...more };
}

/** A branch without norms, added as it is, but for what is given. */
export function branch(more: Partial<BranchConfig>): BranchConfig {
  return { inputNorm: null, outputNorm: null, sumNorm: null, addsToNormed: false, scale: 1, ...more };
}

type LayerParts = Pick<LayerConfig, 'attention' | 'feedForward'> & Partial<LayerConfig>;

/** A layer whose two branches, unless they are given, have a norm before them; which sees the past, and has no biases in attention. */
export function layer(norm: NormConfig | null, parts: LayerParts): LayerConfig {
  return {
    attentionBias: { qkv: false, output: false },
    visibility: { kind: 'causal' },
    attentionBranch: branch({ inputNorm: norm }),
    feedForwardBranch: branch({ inputNorm: parts.parallel === 'one-norm' ? null : norm }),
    parallel: null,
    ...parts,
  };
}

export const bothBiases = (bias: boolean) => ({ qkv: bias, output: bias });

/** The keys that `decoder` reads. */
interface ModelKeys extends RopeKeys {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly tie_word_embeddings: boolean;
  readonly max_position_embeddings: number;
}

interface ModelParts {
  readonly layers: readonly LayerConfig[];
  readonly finalNorm: NormConfig | null;
  readonly embedding?: Partial<EmbeddingConfig>;
  readonly head?: Partial<HeadConfig>;
}

/** A model of these layers; embedding and head are plain but for what is given. */
export function decoder(
  keys: ModelKeys,
  { layers, finalNorm, embedding, head }: ModelParts,
  origin: Origin,
): Omit<ModelConfig, 'family'> {
  const rotates = layers.some(({ attention }) => attention.rope !== null);
  if (origin.ropeLength !== null && !rotates) {
    throw new UsageError(`--rope-length: the model of ${origin.file} has no rope.`);
  }
  const context = keys.max_position_embeddings;
  return {
    vocabulary: keys.vocab_size,
    width: keys.hidden_size,
    embedding: { width: keys.hidden_size, scale: 1, positions: null, norm: null, ...embedding },
    layers,
    finalNorm,
    head: { tied: keys.tie_word_embeddings, bias: false, scale: 1, softcap: null, ...head },
    ...(rotates ? contextOf(keys, context, origin) : { context, ropeLength: null }),
  };
}

/** One layer for each number below `count`. */
export function layersOf(count: number, make: (index: number) => LayerConfig): LayerConfig[] {
  return Array.from({ length: count }, (_, i) => make(i));
}

/** A model whose layers are all the same. */
export function uniform(
  keys: ModelKeys & { readonly num_hidden_layers: number },
  each: LayerConfig,
  finalNorm: NormConfig | null,
  origin: Origin,
  more: Pick<ModelParts, 'embedding' | 'head'> = {},
): Omit<ModelConfig, 'family'> {
  return decoder(keys, { layers: layersOf(keys.num_hidden_layers, () => each), finalNorm, ...more }, origin);
}
