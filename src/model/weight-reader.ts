import type { TensorSource } from '../checkpoint/tensor-source.js';
import type { Linear } from '../math/linear.js';
import type { NormConfig, NormWeights } from '../math/norm.js';
import { gatheredRows, type Matrix, transposed, widenInto } from '../tensor/matrix.js';
import { type Floats, floats, floatsLike, type Precision } from '../tensor/tensor.js';

/** How a checkpoint stores the weight of a linear layer: as `nn.Linear` does, or inputs first (GPT-2's `Conv1D`). */
export type LinearStorage = 'outputs-first' | 'inputs-first';

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
    return this.matrixAt(`${name}.weight`, rows, columns);
  }

  /** A tensor [rows, columns], in its stored dtype. */
  matrixAt(name: string, rows: number, columns: number): Matrix {
    return { ...this.source.take(name, [rows, columns]), rows, columns };
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
  linear(
    name: string,
    outputs: number,
    inputs: number,
    bias: boolean,
    storage: LinearStorage = 'outputs-first',
  ): Linear {
    return {
      weight:
        storage === 'outputs-first'
          ? this.matrix(name, outputs, inputs)
          : transposed(this.matrix(name, inputs, outputs)),
      bias: bias ? this.vector(`${name}.bias`, outputs) : null,
    };
  }

  /** What the norm has of `name`.weight and `name`.bias, of one shape. */
  norm(name: string, norm: NormConfig, shape: number | readonly number[]): NormWeights {
    const weight = norm.weight ? this.vector(`${name}.weight`, shape) : null;
    if (weight && norm.weightOffset !== 0) for (let i = 0; i < weight.length; i++) weight[i]! += norm.weightOffset;
    return { weight, bias: norm.bias ? this.vector(`${name}.bias`, shape) : null };
  }
}

/** Some outputs of a linear layer, in this order. */
export function outputsOf({ weight, bias }: Linear, outputs: readonly number[]): Linear {
  const taken = bias && floatsLike(bias, outputs.length);
  if (taken) for (const [i, output] of outputs.entries()) taken[i] = bias![output]!;
  return { weight: gatheredRows(weight, outputs), bias: taken };
}
