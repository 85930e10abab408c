import { type FloatBits, type FloatDtype, isFloat8, tableOf } from './dtype.js';
import type { Floats } from './tensor.js';

/**
 * A weight matrix [rows, columns] in the dtype it is stored in, row-major as PyTorch's `nn.Linear` stores it (one row an
 * output). Widening to float32 or float64 is exact and happens a few rows at a time where the values are used, so that
 * bfloat16 and float16 weights take half the memory, and 8-bit floats a quarter. (F64 weights are rounded when the pass runs in float32.)
 */
export interface Matrix {
  readonly name: string;
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly columns: number;
  readonly bits: FloatBits;
}

/** Widens `count` values from `from` into `target`, starting at its beginning. */
export function widenInto(target: Floats, matrix: Matrix, from: number, count: number): void {
  const table = tableOf(matrix.dtype);
  if (!table) target.set((matrix.bits as Floats).subarray(from, from + count));
  else if (isFloat8(matrix.dtype)) lookUpBytesInto(target, table, matrix.bits as Uint8Array, from, count);
  else lookUpInto(target, table, matrix.bits as Uint16Array, from, count);
}

/** A loop of its own, so that the one of 16-bit words meets one kind of array alone. */
function lookUpBytesInto(target: Floats, table: Float32Array, codes: Uint8Array, from: number, count: number): void {
  for (let i = 0; i < count; i++) target[i] = table[codes[from + i]!]!;
}

function lookUpInto(target: Floats, table: Float32Array, words: Uint16Array, from: number, count: number): void {
  const pairs = pairsOf(words, from, count);
  let i = 0;
  for (let p = 0; p < pairs.length; p += 2, i += 4) {
    const first = pairs[p]!;
    const second = pairs[p + 1]!;
    target[i] = table[first & LOWER]!;
    target[i + 1] = table[first >>> 16]!;
    target[i + 2] = table[second & LOWER]!;
    target[i + 3] = table[second >>> 16]!;
  }
  for (; i < count; i++) target[i] = table[words[from + i]!]!;
}

/** The first words as 32-bit pairs, where alignment and byte order allow: one load serves two words. */
function pairsOf(words: Uint16Array, from: number, count: number): Int32Array {
  const start = words.byteOffset + 2 * from;
  const readable = start % 4 === 0 && LITTLE_ENDIAN;
  return new Int32Array(words.buffer, readable ? start : 0, readable ? 2 * Math.floor(count / 4) : 0);
}

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const LOWER = 0xffff;

/** `count` rows of a matrix, from `from` on, as a view. */
export function rowsOfMatrix(matrix: Matrix, from: number, count: number): Matrix {
  const { columns } = matrix;
  return { ...matrix, rows: count, bits: matrix.bits.subarray(from * columns, (from + count) * columns) };
}

/** Some rows of a matrix, in this order, copied. */
export function gatheredRows(matrix: Matrix, rows: readonly number[]): Matrix {
  const { columns, bits } = matrix;
  const gathered = bits.slice(0, rows.length * columns);
  for (const [i, row] of rows.entries()) {
    gathered.set(bits.subarray(row * columns, (row + 1) * columns) as never, i * columns);
  }
  return { ...matrix, rows: rows.length, bits: gathered };
}

/** The transpose of a matrix, copied, in the same dtype. */
export function transposed(matrix: Matrix): Matrix {
  const { rows, columns, bits } = matrix;
  const turned = bits.slice();
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) turned[c * rows + r] = bits[r * columns + c]!;
  return { ...matrix, rows: columns, columns: rows, bits: turned };
}
