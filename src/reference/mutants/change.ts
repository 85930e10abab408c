/** Changes of a model's config and weights, of all places that are alike at once. */
import type {
  GroupedConfig,
  GroupedWeights,
  LatentConfig,
  LatentWeights,
} from '../../../attention/strategy/strategy.js';
import type { Linear } from '../../math/linear.js';
import type { Rope } from '../../math/rope.js';
import type {
  BranchConfig,
  DenseConfig,
  ExpertsConfig,
  GroupedRouting,
  LayerConfig,
  ModelConfig,
  RouterConfig,
} from '../../model/config.js';
import type { Model } from '../../model/load.js';
import type { BranchWeights, DenseWeights, ExpertsWeights, LayerWeights, ModelWeights } from '../../model/weights.js';
import { type Matrix, widenInto } from '../../tensor/matrix.js';
import type { Parts, Variant } from './mutant.js';

export type Change = (parts: Parts) => Parts;

/** Each config of a layer, and its weights. */
export const layers =
  (change: (layer: LayerConfig, index: number, all: readonly LayerConfig[]) => LayerConfig): Change =>
  ({ config, weights }) => ({ weights, config: { ...config, layers: config.layers.map(change) } });

export const weightsOfLayers =
  (change: (own: LayerWeights, layer: LayerConfig, index: number) => LayerWeights): Change =>
  ({ config, weights }) => ({
    config,
    weights: { ...weights, layers: weights.layers.map((own, i) => change(own, config.layers[i]!, i)) },
  });

export const head =
  (change: Partial<ModelConfig['head']>): Change =>
  ({ config, weights }) => ({ weights, config: { ...config, head: { ...config.head, ...change } } });

export const headWeights =
  (change: (output: Linear, weights: ModelWeights) => Linear): Change =>
  ({ config, weights }) => ({
    config,
    weights: { ...weights, head: { ...weights.head, output: change(weights.head.output, weights) } },
  });

export const embedding =
  (change: Partial<ModelConfig['embedding']>): Change =>
  ({ config, weights }) => ({ weights, config: { ...config, embedding: { ...config.embedding, ...change } } });

/** Layers that have key/value heads. */
export const grouped = (
  change: (attention: GroupedConfig, index: number, all: readonly LayerConfig[]) => GroupedConfig,
): Change =>
  layers((layer, index, all) =>
    layer.attention.kind === 'grouped' ? { ...layer, attention: change(layer.attention, index, all) } : layer,
  );

export const groupedWeights = (change: (own: GroupedWeights, attention: GroupedConfig) => GroupedWeights): Change =>
  weightsOfLayers((own, { attention }) =>
    own.attention.kind === 'grouped' && attention.kind === 'grouped'
      ? { ...own, attention: change(own.attention, attention) }
      : own,
  );

/** The attention of layers that have key/value heads. */
export const groupedOf = ({ config }: Model): GroupedConfig[] =>
  config.layers.flatMap(({ attention }) => (attention.kind === 'grouped' ? [attention] : []));

/** Layers that store a latent. */
export const latentWeights = (change: (own: LatentWeights, attention: LatentConfig) => LatentWeights): Change =>
  weightsOfLayers((own, { attention }) =>
    own.attention.kind === 'latent' && attention.kind === 'latent'
      ? { ...own, attention: change(own.attention, attention) }
      : own,
  );

/** What both kinds have. */
export const scale =
  (scaleOf: (attention: LayerConfig['attention'], config: ModelConfig) => number): Change =>
  (parts) =>
    layers((layer) => ({
      ...layer,
      attention: { ...layer.attention, scale: scaleOf(layer.attention, parts.config) },
    }))(parts);

/** Layers that have a rope. */
export const rope = (change: (rope: Rope, layer: LayerConfig) => Rope): Change =>
  layers((layer) => {
    const { attention } = layer;
    return attention.rope
      ? { ...layer, attention: { ...attention, rope: change(attention.rope, layer) } as LayerConfig['attention'] }
      : layer;
  });

/** The ropes of a model, and the layers that have them. */
export const ropesOf = ({ config }: Model): readonly { rope: Rope; layer: LayerConfig }[] =>
  config.layers.flatMap((layer) => (layer.attention.rope ? [{ rope: layer.attention.rope, layer }] : []));

export const hasRope = (model: Model, has: (rope: Rope, layer: LayerConfig) => boolean = () => true) =>
  ropesOf(model).some((own) => has(own.rope, own.layer));

/** Tokens carry absolute positions: learned ones, or by rope. */
export const hasPositions = (model: Model) => model.config.embedding.positions !== null || hasRope(model);

/** The values of a head that rope could rotate: those that it may rotate in latent attention. */
export function rotatable({ attention }: LayerConfig): number {
  return attention.kind === 'latent' ? attention.ropeDim : attention.headDim;
}

/** The dim of queries and keys. */
export function keyDim(attention: LayerConfig['attention']): number {
  return attention.kind === 'latent' ? attention.nopeDim + attention.ropeDim : attention.headDim;
}

/** Frequencies theta^(-2i / dim). */
export function frequenciesOf(theta: number, dim: number): number[] {
  return Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim));
}

export const branches = (change: (branch: BranchConfig) => BranchConfig): Change =>
  layers((layer) => ({
    ...layer,
    attentionBranch: change(layer.attentionBranch),
    feedForwardBranch: change(layer.feedForwardBranch),
  }));

/** A mistake of both branches, or of one of them alone, where they have what could be mistaken. */
export function byBranch(
  { config }: Model,
  has: (branch: BranchConfig) => unknown,
  change: (branch: BranchConfig) => BranchConfig,
): readonly Variant[] {
  const of = (name: 'attentionBranch' | 'feedForwardBranch') =>
    config.layers.some((layer) => Boolean(has(layer[name]))) ? [name] : [];
  const present = [...of('attentionBranch'), ...of('feedForwardBranch')];
  const one = (name: (typeof present)[number]) => layers((layer) => ({ ...layer, [name]: change(layer[name]) }));
  const alone = { attentionBranch: 'of attention alone', feedForwardBranch: 'of feed-forward alone' } as const;
  if (present.length < 2) return present.map((name) => ({ label: '', parts: one(name) }));
  return [{ label: '', parts: branches(change) }, ...present.map((name) => ({ label: alone[name], parts: one(name) }))];
}

export const branchWeights = (change: (own: BranchWeights) => BranchWeights): Change =>
  weightsOfLayers((own) => ({
    ...own,
    attentionNorms: change(own.attentionNorms),
    feedForwardNorms: change(own.feedForwardNorms),
  }));

export const experts = (change: (config: ExpertsConfig) => ExpertsConfig): Change =>
  layers((layer) =>
    layer.feedForward.kind === 'experts' ? { ...layer, feedForward: change(layer.feedForward) } : layer,
  );

export const expertsWeights = (change: (own: ExpertsWeights) => ExpertsWeights): Change =>
  weightsOfLayers(({ feedForward, ...own }) => ({
    ...own,
    feedForward: feedForward.kind === 'experts' ? change(feedForward) : feedForward,
  }));

export const router = (change: Partial<GroupedRouting> | ((own: RouterConfig) => RouterConfig)): Change =>
  experts((config) => ({
    ...config,
    router: typeof change === 'function' ? change(config.router) : ({ ...config.router, ...change } as RouterConfig),
  }));

/** The feed-forward layer of each layer, each expert, and shared ones. */
export const dense = (change: (config: DenseConfig) => DenseConfig): Change =>
  layers((layer) => {
    const { feedForward } = layer;
    if (feedForward.kind !== 'experts') return { ...layer, feedForward: change(feedForward) };
    const shared = feedForward.shared && {
      ...feedForward.shared,
      feedForward: change(feedForward.shared.feedForward) as never,
    };
    return { ...layer, feedForward: { ...feedForward, expert: change(feedForward.expert) as never, shared } };
  });

export const denseWeights = (change: <Own extends DenseWeights>(own: Own) => Own): Change =>
  weightsOfLayers((own) => {
    const { feedForward } = own;
    if (feedForward.kind !== 'experts') return { ...own, feedForward: change(feedForward) };
    const shared = feedForward.shared && {
      ...feedForward.shared,
      feedForward: change(feedForward.shared.feedForward),
    };
    return { ...own, feedForward: { ...feedForward, experts: feedForward.experts.map(change), shared } };
  });

/** A matrix of other values, [rows, columns] of another shape perhaps. @param values row-major */
export function matrixOf(name: string, values: Float64Array, rows: number, columns: number): Matrix {
  return { name, dtype: 'F64', rows, columns, bits: values };
}

/** The values of a matrix, row-major. */
export function valuesOf(matrix: Matrix): Float64Array {
  const values = new Float64Array(matrix.rows * matrix.columns);
  widenInto(values, matrix, 0, values.length);
  return values;
}

/** Every matrix of a model, but for its embeddings. */
export const matrices = (change: (matrix: Matrix) => Matrix): Change => {
  const linears = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(linears);
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
    const own = value as { readonly weight?: Matrix };
    if (own.weight && typeof own.weight === 'object' && 'bits' in own.weight) {
      return { ...own, weight: change(own.weight) };
    }
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, linears(member)]));
  };
  return ({ config, weights }) => ({
    config,
    weights: { ...weights, layers: linears(weights.layers), head: linears(weights.head) } as ModelWeights,
  });
};
