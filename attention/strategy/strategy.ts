import type { Linear } from '../../src/math/linear.js';
import type { Rope, Rotation } from '../../src/math/rope.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import type { StreamRows, StreamSchema } from '../streams.js';

/** The shape of one layer's attention, from the config. */
export interface AttentionConfig {
  readonly kind: 'grouped';
  /** H */
  readonly queryHeads: number;
  /** G; H / G query heads share one. */
  readonly keyValueHeads: number;
  /** K, and V */
  readonly headDim: number;
  /** What scores are multiplied by: 1 / sqrt(K) for most. */
  readonly scale: number;
  readonly rope: Rope | null;
}

/** The projections of one layer's attention: query [H K, D], key and value [G K, D], output [D, H K]. */
export interface AttentionWeights {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
}

/**
 * How queries meet the stored streams, for one layer. It says what is stored for each token, makes those rows and the queries
 * from the layer's input, and turns what was attended to into the layer's output. It knows nothing of where rows are stored.
 */
export interface AttentionStrategy {
  readonly name: string;
  readonly streams: readonly StreamSchema[];
  /** The streams that, side by side, a query is compared with, and the stream that is summed. */
  readonly keyStreams: readonly string[];
  readonly valueStream: string;
  readonly scale: number;
  readonly queryHeads: number;
  /** x [T, D] -> queries [T, H, K] and the rows to store. `rotation` is null in layers without rope. */
  project(x_TD: Tensor, rotation: Rotation | null): { readonly q_THK: Tensor; readonly rows: StreamRows };
  /** [T, H, V] -> [T, D] */
  output(attended_THV: Tensor): Tensor;
}

/** Builds a strategy for one layer. */
export type StrategyBuilder = (config: AttentionConfig, weights: AttentionWeights) => AttentionStrategy;
