import type { StoredTensor, WeightSource } from '../checkpoint/tensor-source.js';
import type { Linear } from '../math/linear.js';
import type { NormConfig, NormWeights } from '../math/norm.js';
import { emulatedBits, settleInPlace } from '../tensor/emulated.js';
import { gatheredRows, type Matrix, rowsOfMatrix, transposed, widenInto } from '../tensor/matrix.js';
import { type Floats, floats, floatsLike, isEmulated, type Precision } from '../tensor/tensor.js';
import { mxfp4Parts, type Quantisation, takeMxfp4, takeScaled } from './quantisation.js';

/**
 * How a checkpoint stores the weight of a linear layer: as `nn.Linear` does, or inputs first (GPT-2's `Conv1D`); or as `nn.Linear` does for code that adds the
 * bias by an operation of its own (`FalconLinear`), which matters to an emulated precision alone.
 */
export type LinearStorage = 'outputs-first' | 'inputs-first' | 'outputs-first, bias apart';

/** Takes weights from a checkpoint by name, each checked against the shape that the config gives it. */
export class WeightReader {
  readonly source: WeightSource;
  readonly precision: Precision;
  private readonly quantisation: Quantisation | null;

  /** @param quantisation how config.json says that weights are stored; null: as they are */
  constructor(source: WeightSource, precision: Precision, quantisation: Quantisation | null = null) {
    this.source = source;
    this.precision = precision;
    this.quantisation = quantisation;
    if (quantisation?.kind === 'scaled') source.ignore(quantisation.unused);
  }

  /** A tensor of this shape: in its stored dtype, or dequantised; or in the dtype that is emulated. */
  private take(name: string, shape: readonly number[]): StoredTensor {
    return this.emulated(this.takeExact(name, shape));
  }

  private takeExact(name: string, shape: readonly number[]): StoredTensor {
    return this.quantisation?.kind === 'scaled'
      ? takeScaled(this.source, this.quantisation, name, shape)
      : this.source.take(name, shape);
  }

  private emulated(stored: StoredTensor): StoredTensor {
    const { precision } = this;
    return isEmulated(precision) ? { ...stored, ...emulatedBits(precision, stored) } : stored;
  }

  /** `name`.weight [rows, columns], in its stored dtype. */
  matrix(name: string, rows: number, columns: number): Matrix {
    return this.matrixAt(`${name}.weight`, rows, columns);
  }

  /** A tensor [rows, columns], in its stored dtype. */
  matrixAt(name: string, rows: number, columns: number): Matrix {
    return { ...this.take(name, [rows, columns]), rows, columns };
  }

  /** `count` matrices [outputs, inputs] that stand in one tensor. */
  stack(name: string, count: number, outputs: number, inputs: number, storage: LinearStorage): Matrix[] {
    const { blocks, scales } = mxfp4Parts(name);
    const packed = this.quantisation?.kind === 'mxfp4' && (this.source.has(blocks) || this.source.has(scales));
    const [rows, columns] = storage !== 'inputs-first' || packed ? [outputs, inputs] : [inputs, outputs];
    const stored = packed
      ? this.emulated(takeMxfp4(this.source, name, [count, rows, columns]))
      : this.take(name, [count, rows, columns]);
    const all = { ...stored, rows: count * rows, columns };
    return Array.from({ length: count }, (_, i) => {
      const own = { ...rowsOfMatrix(all, i * rows, rows), name: `${name}[${i}]` };
      return rows === outputs && (packed || storage !== 'inputs-first') ? own : transposed(own);
    });
  }

  /** A vector, or a few of them in a row, widened to the working precision at once: it is small. */
  vector(name: string, shape: number | readonly number[]): Floats {
    const axes = typeof shape === 'number' ? [shape] : shape;
    const length = axes.reduce((product, axis) => product * axis, 1);
    const widened = floats(this.precision, length);
    widenInto(widened, { ...this.take(name, axes), rows: 1, columns: length }, 0, length);
    return widened;
  }

  /** A vector that transformers keeps in float32 (`_keep_in_fp32_modules_strict`), and an emulated precision as it is stored. */
  vectorKept(name: string, length: number): Floats {
    const { precision } = this;
    const widened = floats(isEmulated(precision) ? 'float32' : precision, length);
    widenInto(widened, { ...this.takeExact(name, [length]), rows: 1, columns: length }, 0, length);
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
        storage === 'inputs-first'
          ? transposed(this.matrix(name, inputs, outputs))
          : this.matrix(name, outputs, inputs),
      bias: bias ? this.vector(`${name}.bias`, outputs) : null,
      ...(bias && storage === 'outputs-first, bias apart' && { biasApart: true }),
    };
  }

  /** What the norm has of `name`.weight and `name`.bias, of one shape. */
  norm(name: string, norm: NormConfig, shape: number | readonly number[]): NormWeights {
    const weight = norm.weight ? this.vector(`${name}.weight`, shape) : null;
    if (weight && norm.weightOffset !== 0) for (let i = 0; i < weight.length; i++) weight[i]! += norm.weightOffset;
    // Nemotron adds it in an operation of its own, Gemma in float32 on the way to the product.
    if (weight && norm.kind === 'layer') settleInPlace(weight);
    return { weight, bias: norm.bias ? this.vector(`${name}.bias`, shape) : null };
  }
}

/** Some outputs of a linear layer, in this order. */
export function outputsOf({ weight, bias, ...more }: Linear, outputs: readonly number[]): Linear {
  const taken = bias && floatsLike(bias, outputs.length);
  if (taken) for (const [i, output] of outputs.entries()) taken[i] = bias![output]!;
  return { weight: gatheredRows(weight, outputs), bias: taken, ...more };
}
