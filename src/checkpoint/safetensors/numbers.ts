import { CheckpointError } from '../../errors.js';
import { FLOAT4, float8s, powersOfTwo, tableOf } from '../../tensor/dtype.js';
import type { Dtype, TensorEntry } from './header.js';

/** The values of a tensor. */
export type Numbers =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/**
 * The bytes of a tensor as numbers, row-major, each exactly what is stored: integers and wide floats in the typed array of their dtype (64-bit
 * integers as BigInt), BOOL as bytes 0 and 1, floats narrower than float32 widened to it, F4 among them, of which a byte holds two (the first in its lower half).
 * @param bytes in memory of their own, as `SafetensorsFile.read` gives them
 * @throws CheckpointError for a dtype that has no such array (6-bit floats, FNUZ, complex)
 */
export function numbersOf(
  { name, dtype }: Pick<TensorEntry, 'name' | 'dtype'>,
  bytes: ArrayBuffer,
  file: string,
): Numbers {
  const make = ARRAYS[dtype];
  if (make) return make(bytes);
  const known = Object.keys(ARRAYS).join(', ');
  throw new CheckpointError(
    `${file}: tensor ${name} is ${dtype}, whose values are not known; known are those of ${known}.`,
  );
}

const looked = (table: Float32Array, codes: Uint8Array | Uint16Array) =>
  Float32Array.from(codes, (code) => table[code]!);

const ARRAYS: Partial<Record<Dtype, (bytes: ArrayBuffer) => Numbers>> = {
  F64: (bytes) => new Float64Array(bytes),
  F32: (bytes) => new Float32Array(bytes),
  F16: (bytes) => looked(tableOf('F16')!, new Uint16Array(bytes)),
  BF16: (bytes) => looked(tableOf('BF16')!, new Uint16Array(bytes)),
  F8_E4M3: (bytes) => looked(float8s('F8_E4M3'), new Uint8Array(bytes)),
  F8_E5M2: (bytes) => looked(float8s('F8_E5M2'), new Uint8Array(bytes)),
  F8_E8M0: (bytes) => looked(powersOfTwo(), new Uint8Array(bytes)),
  F4: (bytes) => {
    const codes = new Uint8Array(bytes);
    return Float32Array.from({ length: 2 * codes.length }, (_, i) => FLOAT4[(codes[i >> 1]! >> (4 * (i % 2))) & 15]!);
  },
  I64: (bytes) => new BigInt64Array(bytes),
  U64: (bytes) => new BigUint64Array(bytes),
  I32: (bytes) => new Int32Array(bytes),
  U32: (bytes) => new Uint32Array(bytes),
  I16: (bytes) => new Int16Array(bytes),
  U16: (bytes) => new Uint16Array(bytes),
  I8: (bytes) => new Int8Array(bytes),
  U8: (bytes) => new Uint8Array(bytes),
  BOOL: (bytes) => new Uint8Array(bytes),
};
