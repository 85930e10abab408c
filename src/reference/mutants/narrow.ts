/** Numbers of too few bits. */

import { activate, multiply } from '../../math/elementwise.js';
import { type Linear, linear } from '../../math/linear.js';
import type { DenseConfig } from '../../model/config.js';
import type { Model } from '../../model/load.js';
import type { DenseWeights } from '../../model/weights.js';
import { roundTo16, roundToBfloat16, roundToFloat16, tableOf } from '../../tensor/dtype.js';
import { type Matrix, widenInto } from '../../tensor/matrix.js';
import { flat, type Tensor, tensor, zerosLike } from '../../tensor/tensor.js';
import { normsOf } from '../features/parts.js';
import { matrices, matrixOf, valuesOf } from './change.js';
import { hiddenAs, isGelu } from './feed-forward.js';
import { softmaxIn, withWeights } from './kernels.js';
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

const NORMED = /(\.(attention|feed_forward)\.(input|output_norm)|^final_norm)$/;

/** The activation as a table of float16 has it: of float16 numbers, and rounded to them. */
function tabulated(x_TD: Tensor, own: DenseWeights, { activation }: DenseConfig): Tensor {
  const into_TF = linear(x_TD, own.kind === 'gated' ? own.gate : own.up);
  const active_TF = rounded(activate(rounded(into_TF, roundToFloat16), activation), roundToFloat16);
  return own.kind === 'gated' ? multiply(active_TF, linear(x_TD, own.up)) : active_TF;
}

/** Each value rounded. */
function rounded(x: Tensor, round: (value: number) => number): Tensor {
  const own = zerosLike(x, x.shape);
  flat(x).forEach((value, i) => {
    own.data[i] = round(value);
  });
  return own;
}

const STREAM = /(^embeddings|^layers\.\d+\.(attention\.residual|output))$/;

export const NARROW_MUTANTS: readonly Mutant[] = [
  {
    name: 'softmax-in-half',
    group: 'narrow precision',
    mistake: 'softmax is computed in 16 bits',
    symptom: 'errors of some thousandths, which grow with the number of keys',
    fix: 'compute it in float32, whatever dtype the rest has',
    variants: () =>
      (
        [
          ['bfloat16', roundToBfloat16],
          ['float16', roundToFloat16],
        ] as const
      ).map(([label, round]) => ({
        label,
        attends: withWeights(({ h, seen, scores }, { sinkLogits_H }) =>
          softmaxIn(round, scores, seen.count, sinkLogits_H && sinkLogits_H[h]!),
        ),
      })),
  },
  {
    name: 'norm-in-half',
    group: 'narrow precision',
    mistake: 'norms are computed in bfloat16: what they make is rounded to it',
    symptom: 'errors of some thousandths in every row',
    fix: 'norm in float32, and round the result',
    variants: (model) =>
      when(normsOf(model.config).length > 0, {
        splice: () => (point, value) => {
          return NORMED.test(point) ? rounded(value, roundToBfloat16) : value;
        },
      }),
  },
  {
    name: 'residual-in-half',
    group: 'narrow precision',
    mistake: 'the residual stream is kept in bfloat16',
    symptom: 'errors of some thousandths, which grow from layer to layer',
    fix: 'keep it in float32, or compare with --emulate bfloat16 if that is meant',
    variants: () => [
      {
        label: '',
        splice: () => (point, value) => {
          return STREAM.test(point) ? rounded(value, roundToBfloat16) : value;
        },
      },
    ],
  },
  {
    name: 'gelu-table',
    group: 'narrow precision',
    mistake: 'GELU is looked up in a table of float16 numbers',
    symptom: 'errors of some ten-thousandths in every row',
    fix: 'compute it (llama.cpp has such a table, unless it is built without GGML_GELU_FP16)',
    variants: ({ config }) =>
      when(
        config.layers.some(({ feedForward: own }) => own.kind !== 'experts' && isGelu(own.activation)),
        { splice: hiddenAs(tabulated) },
      ),
  },
  {
    name: 'bfloat16-accumulate',
    group: 'narrow precision',
    mistake: 'projections back to the residual stream round their sums to bfloat16 after each product',
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
