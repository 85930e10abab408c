/** Floating-point dtypes in which a checkpoint may hold weights, by their safetensors names. */
export type FloatDtype = 'F64' | 'F32' | 'F16' | 'BF16' | Float8Dtype;

/** The stored bits of a weight: 16-bit floats stay 16-bit words, and 8-bit floats bytes, until a kernel widens them. */
export type FloatBits = Float64Array | Float32Array | Uint16Array | Uint8Array;

const tables = new Map<FloatDtype, Float32Array>();

/** All 65,536 values of a 16-bit dtype, or 256 of an 8-bit one, made on first use; null for wider dtypes. Looking a value up beats computing it. */
export function tableOf(dtype: FloatDtype): Float32Array | null {
  if (dtype === 'F64' || dtype === 'F32') return null;
  const table = tables.get(dtype) ?? tableFor(dtype);
  tables.set(dtype, table);
  return table;
}

function tableFor(dtype: 'F16' | 'BF16' | Float8Dtype): Float32Array {
  if (isFloat8(dtype)) return float8s(dtype);
  return dtype === 'F16' ? float16s() : bfloat16s();
}

function float16s(): Float32Array {
  return Float32Array.from({ length: 65536 }, (_, word) => float16(word));
}

/** A bfloat16 is the upper half of a float32. */
function bfloat16s(): Float32Array {
  return new Float32Array(Uint32Array.from({ length: 65536 }, (_, word) => word << 16).buffer);
}

function float16(word: number): number {
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >> 10) & 31;
  const fraction = word & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Rounds a float32 value to the nearest one of a 16-bit dtype, ties to even. @returns its bits */
export function roundTo16(dtype: 'F16' | 'BF16', value: number): number {
  return dtype === 'BF16' ? bfloat16Bits(value) : float16Bits(value);
}

const single = new Float32Array(1);
const word = new Uint32Array(single.buffer);

/** The bfloat16 number nearest to a value that was rounded to float32, ties to even; beyond the largest one, infinity. */
export function roundToBfloat16(value: number): number {
  single[0] = value;
  word[0] = bfloat16Bits(single[0]!) << 16;
  return single[0]!;
}

/** The same of float16: from 65520 on, infinity. */
export function roundToFloat16(value: number): number {
  single[0] = value;
  const narrow = single[0]!;
  const size = Math.abs(narrow);
  if (Number.isNaN(narrow)) return narrow;
  if (size >= 65520) return Math.sign(narrow) * Number.POSITIVE_INFINITY;
  if (size < 2 ** -14) return (signOf(narrow) ? -1 : 1) * (Math.fround(size + SUBNORMAL_STEPS) - SUBNORMAL_STEPS);
  const bits = word[0]!;
  word[0] = (bits + 0xfff + ((bits >>> 13) & 1)) & 0xffffe000; // the upper 19 bits of a float32 are a float16 with too large an exponent
  return single[0]!;
}

/** Beside it, float32 numbers lie as far apart as subnormal float16 ones, so that a sum with it is rounded to their steps. */
const SUBNORMAL_STEPS = 0.75;

function bfloat16Bits(value: number): number {
  single[0] = value;
  const bits = word[0]!;
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40; // what is cut off may be all that makes it a NaN
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

function float16Bits(value: number): number {
  const sign = signOf(value) << 15;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00; // half way to the first power of two that there is not
  return sign | magnitudeBits(size, 10, -14);
}

/** The 8-bit floats of the OCP FP8 specification (Micikevicius et al. 2023), by their safetensors names. */
export type Float8Dtype = 'F8_E4M3' | 'F8_E5M2';

export function isFloat8(dtype: string): dtype is Float8Dtype {
  return dtype === 'F8_E4M3' || dtype === 'F8_E5M2';
}

/** Bits of the fraction, exponent of the least normal number, and the largest finite number. */
export const FLOAT8 = {
  F8_E4M3: { fraction: 3, least: -6, largest: 448 },
  F8_E5M2: { fraction: 2, least: -14, largest: 57344 },
} as const satisfies Record<Float8Dtype, object>;

/**
 * Rounds a float32 value to the nearest 8-bit float, ties to even, in saturating mode (OCP FP8, section 5.2): what lies beyond the largest
 * finite number, infinities too, becomes that number. NaN is 0x7f in both. @returns its bits
 */
export function roundTo8(dtype: Float8Dtype, value: number): number {
  if (Number.isNaN(value)) return 0x7f;
  const { fraction, least, largest } = FLOAT8[dtype];
  return (signOf(value) << 7) | magnitudeBits(Math.min(Math.abs(value), largest), fraction, least);
}

/** All 256 values of an 8-bit dtype. E4M3 has no infinities, and one NaN a sign; E5M2 has both as IEEE 754 has them. */
export function float8s(dtype: Float8Dtype): Float32Array {
  const { fraction, least, largest } = FLOAT8[dtype];
  return Float32Array.from({ length: 256 }, (_, code) => {
    const [sign, exponent, rest] = [code & 0x80 ? -1 : 1, (code & 0x7f) >> fraction, code & (2 ** fraction - 1)];
    const size =
      exponent === 0 ? rest * 2 ** (least - fraction) : (2 ** fraction + rest) * 2 ** (exponent - 1 + least - fraction);
    if (size <= largest) return sign * size;
    return dtype === 'F8_E5M2' && rest === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  });
}

/** All 256 values of F8_E8M0 (OCP Microscaling Formats 1.0, section 5.4.1), a power of two each: what scales of blocks are kept in. 255 is NaN. */
export function powersOfTwo(): Float32Array {
  return Float32Array.from({ length: 256 }, (_, code) => (code === 255 ? Number.NaN : 2 ** (code - 127)));
}

/** The 16 values of F4 (E2M1 of the same specification, section 5.3.3). */
export const FLOAT4: readonly number[] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];

function signOf(value: number): number {
  return value < 0 || Object.is(value, -0) ? 1 : 0;
}

/**
 * The bits of a positive finite number without its sign: in units of the last place it lies between 1 and 2 times 2^fraction, less where
 * it is subnormal, so that adding it to the exponent's bits carries where rounding goes up to a power of two.
 * @param least exponent of the least normal number
 */
function magnitudeBits(size: number, fraction: number, least: number): number {
  const exponent = Math.max(size === 0 ? least : Math.floor(Math.log2(size)), least);
  return ((exponent - least) << fraction) + roundedToEven(size * 2 ** (fraction - exponent));
}

/** The nearest whole number, ties to even. */
export function roundedToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}
