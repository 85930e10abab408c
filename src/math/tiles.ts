/**
 * The innermost loops of the float32 matrix product: four rows of W by one or four tokens. Each output is a sum of its own, in
 * the one order of `sum.ts`; doing several at once loads each value once for several of them, and keeps the adder busy.
 *
 * y[to + r] are the outputs of a token, `outputs` apart from the next token's; rows of W start at p[pFrom] and tokens at
 * x[xFrom], `inputs` apart.
 */
import { BLOCK } from './sum.js';

const f = Math.fround;

/** Four outputs of one token: four independent sums, so that an addition need not wait for the one before it. */
export function tile4x1Into(
  y: Float32Array,
  to: number,
  x: Float32Array,
  xFrom: number,
  p: Float32Array,
  pFrom: number,
  inputs: number,
): void {
  const p1 = pFrom + inputs;
  const p2 = p1 + inputs;
  const p3 = p2 + inputs;
  let y0 = f(0),
    y1 = f(0),
    y2 = f(0),
    y3 = f(0);
  for (let start = 0; start < inputs; start += BLOCK) {
    const end = Math.min(start + BLOCK, inputs);
    let s0 = f(0),
      s1 = f(0),
      s2 = f(0),
      s3 = f(0);
    for (let i = start; i < end; i++) {
      const a = x[xFrom + i]!;
      s0 = f(s0 + f(a * p[pFrom + i]!));
      s1 = f(s1 + f(a * p[p1 + i]!));
      s2 = f(s2 + f(a * p[p2 + i]!));
      s3 = f(s3 + f(a * p[p3 + i]!));
    }
    y0 = f(y0 + s0);
    y1 = f(y1 + s1);
    y2 = f(y2 + s2);
    y3 = f(y3 + s3);
  }
  y[to] = y0;
  y[to + 1] = y1;
  y[to + 2] = y2;
  y[to + 3] = y3;
}

/**
 * The same for 16-bit weights, each looked up in the table of its dtype's values. Written out again, and not handed a way of
 * reading: an innermost loop that meets several kinds of array is compiled well for none.
 */
export function lookUpTileInto(
  y: Float32Array,
  to: number,
  x: Float32Array,
  xFrom: number,
  words: Uint16Array,
  table: Float32Array,
  pFrom: number,
  inputs: number,
): void {
  const p1 = pFrom + inputs;
  const p2 = p1 + inputs;
  const p3 = p2 + inputs;
  let y0 = f(0),
    y1 = f(0),
    y2 = f(0),
    y3 = f(0);
  for (let start = 0; start < inputs; start += BLOCK) {
    const end = Math.min(start + BLOCK, inputs);
    let s0 = f(0),
      s1 = f(0),
      s2 = f(0),
      s3 = f(0);
    for (let i = start; i < end; i++) {
      const a = x[xFrom + i]!;
      s0 = f(s0 + f(a * table[words[pFrom + i]!]!));
      s1 = f(s1 + f(a * table[words[p1 + i]!]!));
      s2 = f(s2 + f(a * table[words[p2 + i]!]!));
      s3 = f(s3 + f(a * table[words[p3 + i]!]!));
    }
    y0 = f(y0 + s0);
    y1 = f(y1 + s1);
    y2 = f(y2 + s2);
    y3 = f(y3 + s3);
  }
  y[to] = y0;
  y[to + 1] = y1;
  y[to + 2] = y2;
  y[to + 3] = y3;
}

/** Four outputs of one token, or less, summed in float64 in index order, for an emulated precision. The rows stand at the beginning of p. */
export function wideTileInto(
  y: Float32Array,
  to: number,
  count: number,
  x: Float64Array,
  xFrom: number,
  p: Float64Array,
  inputs: number,
): void {
  let y0 = 0,
    y1 = 0,
    y2 = 0,
    y3 = 0;
  for (let i = 0; i < inputs; i++) {
    const a = x[xFrom + i]!;
    y0 += a * p[i]!;
    y1 += a * p[inputs + i]!;
    y2 += a * p[2 * inputs + i]!;
    y3 += a * p[3 * inputs + i]!;
  }
  y[to] = y0;
  if (count > 1) y[to + 1] = y1;
  if (count > 2) y[to + 2] = y2;
  if (count > 3) y[to + 3] = y3;
}

/** Four outputs of four tokens: each weight loaded serves 4 sums, each input 4. */
export function tile4x4Into(
  y: Float32Array,
  to: number,
  outputs: number,
  x: Float64Array,
  xFrom: number,
  p: Float64Array,
  pFrom: number,
  inputs: number,
): void {
  const x1 = xFrom + inputs;
  const x2 = x1 + inputs;
  const x3 = x2 + inputs;
  const p1 = pFrom + inputs;
  const p2 = p1 + inputs;
  const p3 = p2 + inputs;
  for (let start = 0; start < inputs; start += BLOCK) {
    const end = Math.min(start + BLOCK, inputs);
    let s00 = f(0),
      s01 = f(0),
      s02 = f(0),
      s03 = f(0);
    let s10 = f(0),
      s11 = f(0),
      s12 = f(0),
      s13 = f(0);
    let s20 = f(0),
      s21 = f(0),
      s22 = f(0),
      s23 = f(0);
    let s30 = f(0),
      s31 = f(0),
      s32 = f(0),
      s33 = f(0);
    for (let i = start; i < end; i++) {
      const a0 = x[xFrom + i]!;
      const a1 = x[x1 + i]!;
      const a2 = x[x2 + i]!;
      const a3 = x[x3 + i]!;
      const b0 = p[pFrom + i]!;
      s00 = f(s00 + f(a0 * b0));
      s10 = f(s10 + f(a1 * b0));
      s20 = f(s20 + f(a2 * b0));
      s30 = f(s30 + f(a3 * b0));
      const b1 = p[p1 + i]!;
      s01 = f(s01 + f(a0 * b1));
      s11 = f(s11 + f(a1 * b1));
      s21 = f(s21 + f(a2 * b1));
      s31 = f(s31 + f(a3 * b1));
      const b2 = p[p2 + i]!;
      s02 = f(s02 + f(a0 * b2));
      s12 = f(s12 + f(a1 * b2));
      s22 = f(s22 + f(a2 * b2));
      s32 = f(s32 + f(a3 * b2));
      const b3 = p[p3 + i]!;
      s03 = f(s03 + f(a0 * b3));
      s13 = f(s13 + f(a1 * b3));
      s23 = f(s23 + f(a2 * b3));
      s33 = f(s33 + f(a3 * b3));
    }
    addInto4(y, to, s00, s01, s02, s03);
    addInto4(y, to + outputs, s10, s11, s12, s13);
    addInto4(y, to + 2 * outputs, s20, s21, s22, s23);
    addInto4(y, to + 3 * outputs, s30, s31, s32, s33);
  }
}

/** Closes a block: one addition, rounded by the float32 array that it is stored in. y starts as zeros. */
function addInto4(y: Float32Array, to: number, s0: number, s1: number, s2: number, s3: number): void {
  y[to] = y[to]! + s0;
  y[to + 1] = y[to + 1]! + s1;
  y[to + 2] = y[to + 2]! + s2;
  y[to + 3] = y[to + 3]! + s3;
}
