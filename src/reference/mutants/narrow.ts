/** Numbers of too few bits, beside those of norms, softmax and the residual stream. */

import type { Linear } from '../../math/linear.js';
import type { Model } from '../../model/load.js';
import { roundTo16, roundToBfloat16, tableOf } from '../../tensor/dtype.js';
import { type Matrix, widenInto } from '../../tensor/matrix.js';
import { flat, type Tensor, tensor, zerosLike } from '../../tensor/tensor.js';
import { matrices, matrixOf, valuesOf } from './change.js';
import { type Mutant, when } from './mutant.js';

/** y = x W^T, each sum rounded to bfloat16 after every product that is added. */
function accumulatedInBfloat16(x_TD: Tensor, { weight, bias }: Linear): Tensor {
  const [tokens, width] = [x_TD.shape[0]!, weight.columns];
  const [x, y, row] = [flat(x_TD), zerosLike(x_TD, [tokens, weight.rows]), new Float64Array(width)];
  for (let n = 0; n < weight.rows; n++) {
    widenInto(row, weight, n * width, width);
    for (let t = 0; t < tokens; t++) {
      let sum = 0;
      for (let i = 0; i < width; i++) sum = roundToBfloat16(sum + x[t * width + i]! * row[i]!);
      y.data[t * weight.rows + n] = sum + (bias ? bias[n]! : 0);
    }
  }
  return y;
}

const roundedTo = (dtype: 'BF16' | 'F16') => {
  const table = tableOf(dtype)!;
  return matrices((matrix: Matrix) =>
    matrixOf(
      matrix.name,
      valuesOf(matrix).map((value) => table[roundTo16(dtype, Math.fround(value))]!),
      matrix.rows,
      matrix.columns,
    ),
  );
};

/** Weights that 16 bits of this kind do not have, by more than a part in 10,000 (float16 loses no more of bfloat16 than what is tiny). */
const loses = ({ weights }: Model, dtype: 'BF16' | 'F16') =>
  weights.layers.some(({ attention }) => {
    const { weight } = attention.output;
    const table = tableOf(dtype)!;
    const isFar = (value: number) => Math.abs(table[roundTo16(dtype, Math.fround(value))]! / value - 1) > 1e-4;
    return weight.dtype !== dtype && valuesOf(weight).filter(isFar).length > 0.1 * weight.rows * weight.columns;
  });

export const NARROW_MUTANTS: readonly Mutant[] = [
  {
    name: 'bfloat16-accumulate',
    group: 'narrow precision',
    mistake: 'projections back to the residual stream add up their products in bfloat16',
    symptom: 'errors of some hundredths, which grow with the width',
    fix: 'accumulate in float32, and round the result',
    variants: ({ config }) =>
      when(
        config.layers.some(({ feedForward }) => feedForward.kind !== 'experts'),
        {
          attends: (layer, model) => {
            const { output } = model.weights.layers[layer.index]!.attention;
            const join = (attended: Tensor) => tensor(flat(attended), [attended.shape[0]!, output.weight.columns]);
            const isWhole = layer.strategy.name !== 'mla'; // whose heads are expanded first
            return isWhole
              ? { ...layer, strategy: { ...layer.strategy, output: (heads) => accumulatedInBfloat16(join(heads), output) } } // biome-ignore format: one thought
              : layer;
          },
          splice: ({ weights }) => {
            let hidden: Tensor | null = null;
            return (point, value) => {
              const found = /^layers\.(\d+)\.feed_forward\.(hidden|output)$/.exec(point);
              if (!found) return value;
              const own = weights.layers[Number(found[1])]!.feedForward;
              if (own.kind === 'experts') return value;
              if (found[2] === 'hidden') hidden = value;
              return found[2] === 'output' && hidden ? accumulatedInBfloat16(hidden, own.down) : value;
            };
          },
        },
      ),
  },
  {
    name: 'weights-in-half',
    group: 'narrow precision',
    mistake: 'weights were rounded to 16 bits when they were loaded',
    symptom: 'errors of some thousandths in every row',
    fix: 'keep them in the dtype that they are stored in',
    variants: (model) =>
      (['BF16', 'F16'] as const)
        .filter((dtype) => loses(model, dtype))
        .map((dtype) => ({ label: dtype === 'BF16' ? 'bfloat16' : 'float16', parts: roundedTo(dtype) })),
  },
];
