import type { AttentionWeights } from '../../attention/strategy/strategy.js';
import type { TensorSource } from '../checkpoint/tensor-source.js';
import type { Linear } from '../math/linear.js';
import { type Matrix, widenInto } from '../tensor/matrix.js';
import { type Floats, floats, type Precision } from '../tensor/tensor.js';

/** All weights of a model, typed: what the checkpoint calls them is known to the family's file alone. */
export interface ModelWeights {
  /** [N, D] */
  readonly embedding: Matrix;
  readonly layers: readonly LayerWeights[];
  /** [D] */
  readonly finalNorm: Floats;
  /** [N, D]; the embedding itself where the two are tied. */
  readonly head: Linear;
}

export interface LayerWeights {
  /** [D] */
  readonly attentionNorm: Floats;
  readonly attention: AttentionWeights;
  /** [D] */
  readonly feedForwardNorm: Floats;
  readonly feedForward: FeedForwardWeights;
}

export type FeedForwardWeights = GatedWeights | ExpertsWeights;

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
  readonly shared: GatedWeights | null;
}

/** Takes weights from a checkpoint by name, each checked against the shape that the config gives it. */
export class WeightReader {
  readonly source: TensorSource;
  readonly precision: Precision;

  constructor(source: TensorSource, precision: Precision) {
    this.source = source;
    this.precision = precision;
  }

  /** `name`.weight [rows, columns], in its stored dtype. */
  matrix(name: string, rows: number, columns: number): Matrix {
    return { ...this.source.take(`${name}.weight`, [rows, columns]), rows, columns };
  }

  /** A vector, or a few of them in a row, widened to the working precision at once: it is small. */
  vector(name: string, shape: number | readonly number[]): Floats {
    const axes = typeof shape === 'number' ? [shape] : shape;
    const length = axes.reduce((product, axis) => product * axis, 1);
    const widened = floats(this.precision, length);
    widenInto(widened, { ...this.source.take(name, axes), rows: 1, columns: length }, 0, length);
    return widened;
  }

  /** `name`.weight [outputs, inputs] and, where the layer has one, `name`.bias [outputs]. */
  linear(name: string, outputs: number, inputs: number, bias: boolean): Linear {
    return {
      weight: this.matrix(name, outputs, inputs),
      bias: bias ? this.vector(`${name}.bias`, outputs) : null,
    };
  }
}
