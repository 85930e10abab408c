/**
 * The one order of summation.
 *
 * Every sum over a reduced axis is made in blocks of 32 in index order: each block is summed from zero, and the block sums
 * are added in order, from zero. (Norms sum in index order without blocks: `compensatedSum`.) The order depends on the reduced
 * axis alone, never on how many rows are computed together, so a logit has the same bits however it is computed. It also halves
 * the rounding error of one running sum (Higham, "Accuracy and Stability of Numerical Algorithms", section 4.2: blocked summation).
 *
 * In float32 every operation rounds to float32: a float64 sum, product, quotient or root of float32 numbers, rounded by
 * `Math.fround`, is the correctly rounded float32 operation (Figueroa 1995, "When is double rounding innocuous?"), so a
 * kernel with true single-precision instructions gives the same bits. Nothing is fused. The float64 twins differ in that alone.
 */
import { settlingOf } from '../tensor/emulated.js';
import type { Floats } from '../tensor/tensor.js';

export const BLOCK = 32;

const f = Math.fround;

/**
 * Rounds a float64 intermediate to the precision of an array: what each operation of that precision does to its result. An emulated precision
 * is float32 inside the operations of PyTorch; what they give is rounded by `storingOf`.
 */
export function roundingOf(data: Floats): (x: number) => number {
  return data instanceof Float32Array ? Math.fround : identity;
}

/** Rounds a number as an operation of PyTorch stores it: as `roundingOf` does, and to the dtype that an array emulates, if it does. */
export function storingOf(data: Floats): (x: number) => number {
  return settlingOf(data) ?? roundingOf(data);
}

function identity(x: number): number {
  return x;
}

/** a[aFrom..] . b[bFrom..] over `length` values. Both arrays have one precision. */
export function dot(a: Floats, aFrom: number, b: Floats, bFrom: number, length: number): number {
  return a instanceof Float32Array
    ? dot32(a, aFrom, b as Float32Array, bFrom, length)
    : dot64(a, aFrom, b as Float64Array, bFrom, length);
}

export function dot32(a: Float32Array, aFrom: number, b: Float32Array, bFrom: number, length: number): number {
  let total = f(0);
  for (let start = 0; start < length; start += BLOCK) {
    const end = Math.min(start + BLOCK, length);
    let sum = f(0);
    for (let i = start; i < end; i++) sum = f(sum + f(a[aFrom + i]! * b[bFrom + i]!));
    total = f(total + sum);
  }
  return total;
}

export function dot64(a: Float64Array, aFrom: number, b: Float64Array, bFrom: number, length: number): number {
  let total = 0;
  for (let start = 0; start < length; start += BLOCK) {
    const end = Math.min(start + BLOCK, length);
    let sum = 0;
    for (let i = start; i < end; i++) sum += a[aFrom + i]! * b[bFrom + i]!;
    total += sum;
  }
  return total;
}

/**
 * term(0) + term(1) + ..., where what each addition rounds away is taken from the next term (Kahan 1965, "Further Remarks on Reducing Truncation
 * Errors"). For the sums of norms: their error is in every value of a row at once, and squares, all positive, add theirs up.
 */
export function compensatedSum(length: number, term: (i: number) => number, round: (x: number) => number): number {
  let [sum, excess] = [0, 0];
  for (let i = 0; i < length; i++) {
    const next = round(term(i) - excess);
    const raised = round(sum + next);
    excess = round(round(raised - sum) - next);
    sum = raised;
  }
  return sum;
}

/** sum += scale * row: one step of a sum over rows, for each of `sum.length` outputs. */
export function addScaledInto(sum: Floats, scale: number, rows: Floats, from: number): void {
  if (sum instanceof Float32Array) {
    const s = f(scale);
    for (let i = 0; i < sum.length; i++) sum[i] = f(sum[i]! + f(s * (rows as Float32Array)[from + i]!));
  } else {
    for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + scale * rows[from + i]!;
  }
}

/** The same by two operations of an emulated precision: the product and the sum are stored. */
export function addStoredInto(sum: Floats, scale: number, rows: Floats, from: number): void {
  const store = storingOf(sum);
  for (let i = 0; i < sum.length; i++) sum[i] = store(sum[i]! + store(scale * rows[from + i]!));
}

/** total += sum, then sum = 0: closes a block. */
export function closeBlockInto(total: Floats, sum: Floats): void {
  // A float32 array rounds what is stored in it, and one addition is all that is rounded here.
  for (let i = 0; i < total.length; i++) total[i] = total[i]! + sum[i]!;
  sum.fill(0);
}

/**
 * The sum of some entries of a reduced axis, given with their indices on it in ascending order. An entry's index alone decides
 * which block it falls in, so that absent entries (keys that a window hides or a cache has dropped) change nothing.
 */
export function sumByIndex(values: Floats, indices: Int32Array, count: number): number {
  const round = roundingOf(values);
  let total = 0;
  for (let i = 0; i < count; ) {
    const block = blockOf(indices[i]!);
    let sum = 0;
    for (; i < count && blockOf(indices[i]!) === block; i++) sum = round(sum + values[i]!);
    total = round(total + sum);
  }
  return total;
}

/** The block that an index on a reduced axis falls in. */
export function blockOf(index: number): number {
  return Math.floor(index / BLOCK);
}
