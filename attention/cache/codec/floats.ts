/** Rows as floats: in the working precision, or rounded to another one, ties to even. */
import { roundTo16, tableOf } from '../../../src/tensor/dtype.js';
import { type Floats, floats, type Precision } from '../../../src/tensor/tensor.js';
import type { Stored } from '../../stored.js';
import type { StreamSchema } from '../../streams.js';
import { type RowCodec, storedPart } from './codec.js';
import type { FloatFormat } from './format.js';

export function floatCodec({ dtype }: FloatFormat, stream: StreamSchema): RowCodec {
  if (dtype === 'float16' || dtype === 'bfloat16') return words(dtype === 'float16' ? 'F16' : 'BF16', stream);
  return whole(dtype, stream);
}

/** An array rounds what is stored in it. */
function whole(dtype: Precision, { heads, dim }: StreamSchema): RowCodec {
  const size = heads * dim;
  return {
    parts: [storedPart('values', dtype === 'float64' ? 'F64' : 'F32', 1, [heads, dim])],
    form: { kind: 'numbers' },
    encode(rows, fromRow, count, [values], toSlot) {
      values!.set(rows.subarray(fromRow * size, (fromRow + count) * size), toSlot * size);
    },
    decode([values], from, count, precision) {
      const stored = values!.subarray(from * size, (from + count) * size) as Floats;
      if (dtype === precision) return stored;
      const copy = floats(precision, stored.length);
      copy.set(stored);
      return copy;
    },
  };
}

/** 16 bits a value. Beyond its largest number float16 is infinite, as in IEEE 754. */
function words(dtype: 'F16' | 'BF16', { heads, dim }: StreamSchema): RowCodec {
  const size = heads * dim;
  const table = tableOf(dtype)!;
  return {
    parts: [storedPart('values', dtype, 1, [heads, dim])],
    form: { kind: 'codes', bits: 16, table, scale_G: null },
    encode(rows, fromRow, count, [values], toSlot) {
      for (let i = 0; i < count * size; i++) {
        values![toSlot * size + i] = roundTo16(dtype, Math.fround(rows[fromRow * size + i]!));
      }
    },
    decode: ([values], from, count, precision) => lookedUp(table, values!, from * size, count * size, precision),
  };
}

/** Codes -> the numbers that a table has for them. */
function lookedUp(table: Float32Array, codes: Stored, from: number, count: number, precision: Precision): Floats {
  const found = floats(precision, count);
  for (let i = 0; i < count; i++) found[i] = table[codes[from + i]!]!;
  return found;
}
