/**
 * y = x W^T + b, the one matrix product of a transformer. In float32 it is blocked in registers over *outputs* (4 rows of W by
 * 4 or 1 tokens), never over the sum, so each output has the one order of `sum.ts` whatever is computed beside it.
 */

import { isFloat8, tableOf } from '../tensor/dtype.js';
import { emulationOf, settleInPlace } from '../tensor/emulated.js';
import type { Matrix } from '../tensor/matrix.js';
import { widenInto } from '../tensor/matrix.js';
import { expectShape, type Floats, flat, floatsLike, type Tensor, zerosLike } from '../tensor/tensor.js';
import { dot32, dot64 } from './sum.js';
import { lookUpTileInto, tile4x1Into, tile4x4Into, wideTileInto } from './tiles.js';

/** A weight [outputs, inputs] in its stored dtype, and an optional bias [outputs] in the working precision. */
export interface Linear {
  readonly weight: Matrix;
  readonly bias: Floats | null;
  /** The bias is added by an operation of its own, which matters to an emulated precision alone: not where it is (the default), as in `nn.Linear` and `Conv1D`. */
  readonly biasApart?: boolean;
}

/** x [T, inputs] -> [T, outputs], in the precision of x. */
export function linear(x: Tensor, { weight, bias, biasApart = false }: Linear): Tensor {
  const tokens = x.shape[0]!;
  expectShape(x, `the input of ${weight.name}`, { T: tokens, D: weight.columns });
  const y = zerosLike(x, [tokens, weight.rows]);
  if (emulationOf(x.data)) linearWideInto(y.data as Float32Array, flat(x) as Float32Array, weight, tokens);
  else if (x.data instanceof Float32Array)
    linear32Into(y.data as Float32Array, flat(x) as Float32Array, weight, tokens);
  else linear64Into(y.data as Float64Array, flat(x) as Float64Array, weight, tokens);
  if (biasApart) settleInPlace(y.data);
  if (bias) addBiasInPlace(y.data, bias);
  settleInPlace(y.data);
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

/**
 * For an emulated precision: sums in float64, as good as exact, each rounded to float32 by the array that it is stored in. PyTorch sums in float32, in an order of its
 * processor. What its sums are rounded to in bfloat16 is what exact ones are rounded to but for 6 in 100,000, and for as many again if ours are float32 too (both
 * measured on the trained fixtures): no order of ours would be nearer to all of its orders.
 */
function linearWideInto(y: Float32Array, x: Float32Array, w: Matrix, tokens: number): void {
  const wide = Float64Array.from(x);
  const panel = new Float64Array(TILE * w.columns);
  for (let n = 0; n < w.rows; n += TILE) {
    const rows = Math.min(TILE, w.rows - n);
    widenRoundedInto(panel, w, n * w.columns, rows * w.columns);
    for (let t = 0; t < tokens; t++) wideTileInto(y, t * w.rows + n, rows, wide, t * w.columns, panel, w.columns);
  }
}

/** Rows of W that are multiplied together, and tokens where there are enough of them. */
const TILE = 4;

/** About as many values as are widened at once: they stay in the first-level cache. */
const PANEL_VALUES = 4096;

function linear32Into(y: Float32Array, x: Float32Array, w: Matrix, tokens: number): void {
  const whole = w.rows - (w.rows % TILE);
  if (tokens < TILE && isFloat8(w.dtype)) fewTokensOf8BitsInto(y, x, w, tokens, whole);
  else if (tokens < TILE && w.dtype !== 'F64') fewTokensInto(y, x, w, tokens, whole);
  else manyTokensInto(y, x, w, tokens, whole);
  const row = new Float32Array(w.columns);
  for (let n = whole; n < w.rows; n++) {
    widenInto(row, w, n * w.columns, w.columns);
    for (let t = 0; t < tokens; t++) y[t * w.rows + n] = dot32(x, t * w.columns, row, 0, w.columns);
  }
}

/** The first rows of W, as they are stored: for so few tokens a widened copy does not pay. */
function fewTokensInto(y: Float32Array, x: Float32Array, w: Matrix, tokens: number, rows: number): void {
  const table = tableOf(w.dtype);
  for (let n = 0; n < rows; n += TILE) {
    for (let t = 0; t < tokens; t++) {
      const [to, xFrom, from] = [t * w.rows + n, t * w.columns, n * w.columns];
      if (table) lookUpTileInto(y, to, x, xFrom, w.bits as Uint16Array, table, from, w.columns);
      else tile4x1Into(y, to, x, xFrom, w.bits as Float32Array, from, w.columns);
    }
  }
}

/** The same for 8-bit weights, widened a tile at a time: the loop that looks words up is compiled for 16-bit words alone. */
function fewTokensOf8BitsInto(y: Float32Array, x: Float32Array, w: Matrix, tokens: number, rows: number): void {
  const panel = new Float32Array(TILE * w.columns);
  for (let n = 0; n < rows; n += TILE) {
    widenInto(panel, w, n * w.columns, panel.length);
    for (let t = 0; t < tokens; t++) tile4x1Into(y, t * w.rows + n, x, t * w.columns, panel, 0, w.columns);
  }
}

/**
 * The first rows of W, a panel at a time. Panel and tokens are widened to float64 arrays of the same float32 values, which
 * spares the tiles the conversion at every use; tokens are padded to whole tiles with zeros. (F64 weights come here always,
 * to be rounded.)
 */
function manyTokensInto(y: Float32Array, x: Float32Array, w: Matrix, tokens: number, rows: number): void {
  const padded = TILE * Math.ceil(tokens / TILE);
  const wide = new Float64Array(padded * w.columns);
  wide.set(x);
  const out = padded === tokens ? y : new Float32Array(padded * w.rows);
  const height = TILE * Math.ceil(PANEL_VALUES / (TILE * w.columns));
  const panel = new Float64Array(height * w.columns);
  for (let n = 0; n < rows; n += height) {
    const count = Math.min(height, rows - n);
    widenRoundedInto(panel, w, n * w.columns, count * w.columns);
    for (let r = 0; r < count; r += TILE) {
      for (let t = 0; t < padded; t += TILE) {
        tile4x4Into(out, t * w.rows + n + r, w.rows, wide, t * w.columns, panel, r * w.columns, w.columns);
      }
    }
  }
  if (out !== y) y.set(out.subarray(0, y.length));
}

/** Widens to float64; weights that are stored wider than float32 are rounded to it first. */
function widenRoundedInto(panel: Float64Array, w: Matrix, from: number, count: number): void {
  widenInto(panel, w, from, count);
  if (w.dtype === 'F64') for (let i = 0; i < count; i++) panel[i] = Math.fround(panel[i]!);
}
