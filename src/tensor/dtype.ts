/** Floating-point dtypes in which a checkpoint may hold weights, by their safetensors names. */
export type FloatDtype = 'F64' | 'F32' | 'F16' | 'BF16';

/** The stored bits of a weight: 16-bit floats stay 16-bit words until a kernel widens them. */
export type FloatBits = Float64Array | Float32Array | Uint16Array;

const tables = new Map<FloatDtype, Float32Array>();

/** All 65,536 values of a 16-bit dtype, made on first use; null for wider dtypes. Looking a value up beats computing it. */
export function tableOf(dtype: FloatDtype): Float32Array | null {
  if (dtype !== 'F16' && dtype !== 'BF16') return null;
  const table = tables.get(dtype) ?? (dtype === 'F16' ? float16s() : bfloat16s());
  tables.set(dtype, table);
  return table;
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

const word = new DataView(new ArrayBuffer(4));

function bfloat16Bits(value: number): number {
  word.setFloat32(0, value);
  const bits = word.getUint32(0);
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40; // what is cut off may be all that makes it a NaN
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

function float16Bits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00; // half way to the first power of two that there is not
  const exponent = Math.max(size === 0 ? -14 : Math.floor(Math.log2(size)), -14);
  const fraction = roundedToEven(size * 2 ** (10 - exponent)); // 1024 to 2048; less where it is subnormal
  return sign | (((exponent + 14) << 10) + fraction);
}

function roundedToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
