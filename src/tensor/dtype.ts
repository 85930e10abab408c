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
