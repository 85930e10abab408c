import { expectShape, type Floats, flat, type Tensor, zerosLike } from '../tensor/tensor.js';
import { dot, roundingOf } from './sum.js';

/** x / sqrt(mean(x^2) + eps) * weight, for each token (Zhang & Sennrich 2019, equation 4). x [T, D], weight [D] -> [T, D]. */
export function rmsNorm(x_TD: Tensor, weight_D: Floats, eps: number): Tensor {
  const width = weight_D.length;
  expectShape(x_TD, 'the input of a norm', { T: x_TD.shape[0]!, D: width });
  const [x, y_TD] = [flat(x_TD), zerosLike(x_TD, x_TD.shape)];
  const round = roundingOf(x);
  for (let from = 0; from < x.length; from += width) {
    const variance = round(dot(x, from, x, from, width) / width);
    const inverse = round(1 / round(Math.sqrt(round(variance + round(eps)))));
    for (let i = 0; i < width; i++) y_TD.data[from + i] = weight_D[i]! * round(x[from + i]! * inverse);
  }
  return y_TD;
}
