/** Heads as slices of a row. */
import { type Linear, linear } from '../../src/math/linear.js';
import { flat, reshaped, type Tensor, zerosLike } from '../../src/tensor/tensor.js';

/** [T, H, V] -> [T, D]: the heads side by side, through the output projection. */
export function joinHeads(attended_THV: Tensor, output: Linear): Tensor {
  const [tokens, heads, dim] = attended_THV.shape as [number, number, number];
  return linear(reshaped(attended_THV, [tokens, heads * dim]), output);
}

/** [T, G, K] -> [T, G copies, K]: head 0 `copies` times, then head 1, ... (repeated, not tiled). */
export function repeatHeads(x_TGK: Tensor, copies: number): Tensor {
  const [tokens, groups, dim] = x_TGK.shape as [number, number, number];
  const [x, repeated] = [flat(x_TGK), zerosLike(x_TGK, [tokens, groups * copies, dim])];
  for (let head = 0; head < tokens * groups * copies; head++) {
    const from = Math.floor(head / copies) * dim;
    repeated.data.set(x.subarray(from, from + dim), head * dim);
  }
  return repeated;
}

/** The values [from, to) of every head: [T, H, K] -> [T, H, to - from], copied. */
export function sliceOfHeads(x_THK: Tensor, from: number, to: number): Tensor {
  const [tokens, heads, dim] = x_THK.shape as [number, number, number];
  const [x, slice] = [flat(x_THK), zerosLike(x_THK, [tokens, heads, to - from])];
  for (let row = 0; row < tokens * heads; row++) {
    slice.data.set(x.subarray(row * dim + from, row * dim + to), row * (to - from));
  }
  return slice;
}

/** [T, H, K1] and [T, H, K2] -> [T, H, K1 + K2] */
export function concatHeads(first_THK: Tensor, second_THK: Tensor): Tensor {
  const [tokens, heads, dim] = first_THK.shape as [number, number, number];
  const more = second_THK.shape[2]!;
  const [a, b, joined] = [flat(first_THK), flat(second_THK), zerosLike(first_THK, [tokens, heads, dim + more])];
  for (let row = 0; row < tokens * heads; row++) {
    joined.data.set(a.subarray(row * dim, (row + 1) * dim), row * (dim + more));
    joined.data.set(b.subarray(row * more, (row + 1) * more), row * (dim + more) + dim);
  }
  return joined;
}

/** Each head through a matrix of its own: [T, H, K] -> [T, H, outputs]. */
export function linearByHead(x_THK: Tensor, matrices: readonly Linear[]): Tensor {
  const [tokens, heads, dim] = x_THK.shape as [number, number, number];
  const outputs = matrices[0]!.weight.rows;
  const [x, y_THV] = [flat(x_THK), zerosLike(x_THK, [tokens, heads, outputs])];
  for (const [h, matrix] of matrices.entries()) {
    const head = zerosLike(x_THK, [tokens, dim]);
    for (let t = 0; t < tokens; t++) {
      head.data.set(x.subarray((t * heads + h) * dim, (t * heads + h + 1) * dim), t * dim);
    }
    const y = linear(head, matrix).data;
    for (let t = 0; t < tokens; t++) {
      y_THV.data.set(y.subarray(t * outputs, (t + 1) * outputs), (t * heads + h) * outputs);
    }
  }
  return y_THV;
}
