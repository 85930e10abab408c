/**
 * y = x W^T + b, the one matrix product of a transformer. In float32 it is blocked in registers over *outputs* (4 rows of W by
 * 4 or 1 tokens), never over the sum, so each output has the one order of `sum.ts` whatever is computed beside it.
 */

import { tableOf } from '../tensor/dtype.js';
import type { Matrix } from '../tensor/matrix.js';
import { widenInto } from '../tensor/matrix.js';
import { expectShape, type Floats, flat, floatsLike, type Tensor, zerosLike } from '../tensor/tensor.js';
import { dot32, dot64 } from './sum.js';
import { lookUpTileInto, tile4x1Into, tile4x4Into } from './tiles.js';

/** A weight [outputs, inputs] in its stored dtype, and an optional bias [outputs] in the working precision. */
export interface Linear {
  readonly weight: Matrix;
  readonly bias: Floats | null;
}

/** x [T, inputs] -> [T, outputs], in the precision of x. */
export function linear(x: Tensor, { weight, bias }: Linear): Tensor {
  const tokens = x.shape[0]!;
  expectShape(x, `the input of ${weight.name}`, { T: tokens, D: weight.columns });
  const y = zerosLike(x, [tokens, weight.rows]);
  if (x.data instanceof Float32Array) linear32Into(y.data as Float32Array, flat(x) as Float32Array, weight, tokens);
  else linear64Into(y.data as Float64Array, flat(x) as Float64Array, weight, tokens);
  if (bias) addBiasInPlace(y.data, bias);
  return y;
}

function addBiasInPlace(y: Floats, bias: Floats): void {
  for (let from = 0; from < y.length; from += bias.length) {
    for (let i = 0; i < bias.length; i++) y[from + i] = y[from + i]! + bias[i]!;
  }
}

/** The textbook: one dot product for each output. */
function linear64Into(y: Float64Array, x: Float64Array, w: Matrix, tokens: number): void {
  const row = floatsLike(x, w.columns) as Float64Array;
  for (let n = 0; n < w.rows; n++) {
    widenInto(row, w, n * w.columns, w.columns);
    for (let t = 0; t < tokens; t++) y[t * w.rows + n] = dot64(x, t * w.columns, row, 0, w.columns);
  }
}

/** Rows of W that are multiplied together. */
const TILE = 4;

/** About as many values as are widened at once: they stay in the first-level cache. */
const PANEL_VALUES = 4096;

function linear32Into(y: Float32Array, x: Float32Array, w: Matrix, tokens: number): void {
  const table = tableOf(w.dtype);
  const whole = w.rows - (w.rows % TILE);
  if (table && tokens < 4) {
    // For so few tokens a widened copy does not pay: look the values up where they are multiplied.
    for (let n = 0; n < whole; n += TILE) {
      for (let t = 0; t < tokens; t++) {
        lookUpTileInto(y, t * w.rows + n, x, t * w.columns, w.bits as Uint16Array, table, n * w.columns, w.columns);
      }
    }
  } else {
    panelsInto(y, x, w, tokens, whole);
  }
  const row = new Float32Array(w.columns);
  for (let n = whole; n < w.rows; n++) {
    widenInto(row, w, n * w.columns, w.columns);
    for (let t = 0; t < tokens; t++) y[t * w.rows + n] = dot32(x, t * w.columns, row, 0, w.columns);
  }
}

/** The first rows of W, a panel at a time, widened where they are not stored as float32. */
function panelsInto(y: Float32Array, x: Float32Array, w: Matrix, tokens: number, rows: number): void {
  const stored = w.dtype === 'F32' ? (w.bits as Float32Array) : null;
  const height = stored ? rows : TILE * Math.ceil(PANEL_VALUES / (TILE * w.columns));
  const panel = stored ?? new Float32Array(height * w.columns);
  for (let n = 0; n < rows; n += height) {
    const count = Math.min(height, rows - n);
    if (!stored) widenInto(panel, w, n * w.columns, count * w.columns);
    for (let r = 0; r < count; r += TILE) tilesInto(y, n + r, w.rows, x, tokens, panel, r * w.columns, w.columns);
  }
}

/** y[:, n .. n + 4] for four rows of W, which start at p[pFrom]. */
function tilesInto(
  y: Float32Array,
  n: number,
  outputs: number,
  x: Float32Array,
  tokens: number,
  p: Float32Array,
  pFrom: number,
  inputs: number,
): void {
  let t = 0;
  for (; t + 4 <= tokens; t += 4) tile4x4Into(y, t * outputs + n, outputs, x, t * inputs, p, pFrom, inputs);
  for (; t < tokens; t++) tile4x1Into(y, t * outputs + n, x, t * inputs, p, pFrom, inputs);
}
