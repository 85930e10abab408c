/** How the rows of one stream are kept in arrays, and read from them. */
import type { Floats, Precision } from '../../../src/tensor/tensor.js';
import type { Stored, StoredDtype, StoredForm } from '../../stored.js';

/** One of the arrays of a stream: for each run of `slots` slots, `length` elements of this shape. */
export interface StoredPart {
  readonly name: 'values' | 'scales' | 'minima';
  readonly dtype: StoredDtype;
  readonly slots: number;
  readonly shape: readonly number[];
  readonly length: number;
}

export function storedPart(
  name: StoredPart['name'],
  dtype: StoredDtype,
  slots: number,
  shape: readonly number[],
): StoredPart {
  return { name, dtype, slots, shape, length: shape.reduce((product, length) => product * length, 1) };
}

/**
 * Rows [T, heads, dim] of one stream <-> its arrays. A codec is a function of rows alone: the same rows are the same bytes wherever they are
 * stored, and however many are stored at once. Where a run of slots shares a scale, rows come in such runs.
 */
export interface RowCodec {
  readonly parts: readonly StoredPart[];
  /** What `decode` does, for kernels that do it themselves. */
  readonly form: StoredForm;
  /** Stores `count` rows, those of `rows` [T, heads, dim] (flat) from its row `fromRow` on, in slots `toSlot`, `toSlot` + 1, ... */
  encode(rows: Floats, fromRow: number, count: number, arrays: readonly Stored[], toSlot: number): void;
  /** Reads `count` slots from `fromSlot` on as rows [count, heads, dim] (flat) in the working precision: a view where they are stored so. */
  decode(arrays: readonly Stored[], fromSlot: number, count: number, precision: Precision): Floats;
}

export const BYTES = { F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, F8_E5M2: 1, U8: 1 } as const satisfies Record<
  StoredDtype,
  number
>;

/** An array of a part for this many slots. */
export function arrayFor({ dtype, slots, length }: StoredPart, capacity: number): Stored {
  return new (kindOf(dtype))(Math.ceil(capacity / slots) * length);
}

/** The array over bytes that were saved. */
export function arrayOver({ dtype }: StoredPart, bytes: ArrayBuffer): Stored {
  return new (kindOf(dtype))(bytes);
}

function kindOf(dtype: StoredDtype) {
  return { 8: Float64Array, 4: Float32Array, 2: Uint16Array, 1: Uint8Array }[BYTES[dtype]];
}
