import type { AttentionWeights } from '../../attention/strategy/strategy.js';
import type { Linear } from '../math/linear.js';
import type { NormWeights } from '../math/norm.js';
import type { Matrix } from '../tensor/matrix.js';
import type { Floats } from '../tensor/tensor.js';

/** All weights of a model, typed: what the checkpoint calls them is known to the family's file alone. */
export interface ModelWeights {
  readonly embedding: EmbeddingWeights;
  readonly layers: readonly LayerWeights[];
  readonly finalNorm: NormWeights | null;
  readonly head: HeadWeights;
}

/** What the config has not is null. */
export interface EmbeddingWeights {
  /** [N, W], of width D for most */
  readonly tokens: Matrix;
  /** [D, W] */
  readonly projectIn: Linear | null;
  /** [rows, D] */
  readonly positions: Matrix | null;
  readonly norm: NormWeights | null;
}

export interface HeadWeights {
  /** [W, D] */
  readonly projectOut: Linear | null;
  /** [N, W]; the embedding itself where the two are tied. */
  readonly output: Linear;
}

export interface LayerWeights {
  readonly attentionNorms: BranchWeights;
  readonly attention: AttentionWeights;
  readonly feedForwardNorms: BranchWeights;
  readonly feedForward: FeedForwardWeights;
}

/** The norms of a branch, each [D]; null where the config has none. */
export interface BranchWeights {
  readonly input: NormWeights | null;
  readonly output: NormWeights | null;
  readonly sum: NormWeights | null;
}

export type FeedForwardWeights = DenseWeights | ExpertsWeights;
export type DenseWeights = PlainWeights | GatedWeights;

/** up [F, D], down [D, F] */
export interface PlainWeights {
  readonly kind: 'plain';
  readonly up: Linear;
  readonly down: Linear;
}

/** gate and up [F, D], down [D, F] */
export interface GatedWeights {
  readonly kind: 'gated';
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

export interface ExpertsWeights {
  readonly kind: 'experts';
  /** [E, D] */
  readonly router: Linear;
  /** Added to the scores by which experts are chosen [E]; null: none. */
  readonly correction: Floats | null;
  /** [E] */
  readonly experts: readonly GatedWeights[];
  readonly shared: SharedExpertWeights | null;
}

export interface SharedExpertWeights {
  readonly feedForward: GatedWeights;
  /** [1, D] */
  readonly gate: Linear | null;
}
