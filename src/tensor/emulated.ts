/**
 * Precisions that are emulated: numbers as PyTorch stores them in bfloat16 or float16.
 *
 * PyTorch computes one operation of these dtypes in float32 (sums are accumulated in it) and rounds once, as it stores the result. So do we, but for the
 * sums of linear layers, which are exact (src/math/linear.ts): values lie in a float32 array of a class that names the dtype, the arithmetic inside an operation is
 * that of float32, and what an operation gives is *settled*: rounded to the dtype, in place. Where operations begin and end is what transformers writes down,
 * family by family.
 *
 * The class goes along with `subarray`, `slice` and `map`, and nothing is settled by storing alone: between two roundings an array may hold
 * other numbers.
 */
import { type FloatBits, type FloatDtype, roundTo16, roundToBfloat16, roundToFloat16, tableOf } from './dtype.js';

export type EmulatedPrecision = 'bfloat16' | 'float16';

export const EMULATED_PRECISIONS = ['bfloat16', 'float16'] as const satisfies readonly EmulatedPrecision[];

/** Float32 numbers that operations round to bfloat16. */
export class Bfloat16Floats extends Float32Array {
  get emulates(): 'bfloat16' {
    return 'bfloat16';
  }
}

/** Float32 numbers that operations round to float16. */
export class Float16Floats extends Float32Array {
  get emulates(): 'float16' {
    return 'float16';
  }
}

/** The names that safetensors has for them. */
export const EMULATED_DTYPES = { bfloat16: 'BF16', float16: 'F16' } as const satisfies Record<
  EmulatedPrecision,
  FloatDtype
>;

/** A zeroed array. */
export function emulatedFloats(precision: EmulatedPrecision, length: number): Float32Array {
  return precision === 'bfloat16' ? new Bfloat16Floats(length) : new Float16Floats(length);
}

/** What an array emulates; null: nothing, it is float32 or float64. */
export function emulationOf(data: Float32Array | Float64Array): EmulatedPrecision | null {
  return data instanceof Bfloat16Floats || data instanceof Float16Floats ? data.emulates : null;
}

/** The same numbers as float32, which are not rounded to a dtype: what `.float()` of PyTorch makes of them (no copy). */
export function asFloat32(data: Float32Array | Float64Array): Float32Array | Float64Array {
  return emulationOf(data) ? new Float32Array(data.buffer, data.byteOffset, data.length) : data;
}

/** Rounds what an operation has stored to the dtype that is emulated, ties to even; nothing for float32 and float64. */
export function settleInPlace(data: Float32Array | Float64Array): void {
  if (data instanceof Bfloat16Floats) settleBfloat16sInPlace(data);
  else if (data instanceof Float16Floats) for (let i = 0; i < data.length; i++) data[i] = roundToFloat16(data[i]!);
}

/** On the bits: a bfloat16 is the upper half of a float32. */
function settleBfloat16sInPlace(data: Bfloat16Floats): void {
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if ((word & 0x7f800000) === 0x7f800000 && (word & 0x7fffff) !== 0)
      words[i] = (word | 0x400000) & 0xffff0000; // a NaN stays one
    else words[i] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  }
}

/** A weight in the dtype that is emulated, ties to even: as `.to(dtype)` of PyTorch makes it, which goes from float64 by way of float32. */
export function emulatedBits(
  precision: EmulatedPrecision,
  { dtype, bits }: { readonly dtype: FloatDtype; readonly bits: FloatBits },
): { dtype: 'BF16' | 'F16'; bits: Uint16Array } {
  const to = EMULATED_DTYPES[precision];
  const values = tableOf(dtype);
  if (dtype === to) return { dtype: to, bits: bits as Uint16Array };
  if (!values) return { dtype: to, bits: Uint16Array.from(bits, (value) => roundTo16(to, Math.fround(value))) };
  const codes = Uint16Array.from(values, (value) => roundTo16(to, value));
  return { dtype: to, bits: Uint16Array.from(bits, (code) => codes[code]!) };
}

/** The bits of settled numbers. */
export function emulatedWords(data: Bfloat16Floats | Float16Floats): Uint16Array {
  const to = EMULATED_DTYPES[data.emulates];
  return Uint16Array.from(data, (value) => roundTo16(to, value));
}

/** What an operation does to one number of its result, for the dtype that an array emulates; null: it emulates none. */
export function settlingOf(data: Float32Array | Float64Array): ((x: number) => number) | null {
  const precision = emulationOf(data);
  if (precision === null) return null;
  return precision === 'bfloat16' ? roundToBfloat16 : roundToFloat16;
}
