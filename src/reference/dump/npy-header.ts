/** The header of a .npy file (NumPy Enhancement Proposal 1; versions 1 to 3 of `numpy.lib.format`), read strictly. */
import { DTYPE_BITS, type Dtype } from '../../checkpoint/safetensors/header.js';
import { strictUtf8 } from '../../checkpoint/strict-utf8.js';
import { bytesOf } from './values.js';

export interface NpyHeader {
  readonly dtype: Dtype;
  readonly bigEndian: boolean;
  /** Column-major: the first axis runs fastest. */
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
  /** Where the data begins. */
  readonly dataStart: number;
  readonly dataBytes: number;
}

type Fail = (problem: string) => never;

export const NPY_MAGIC = '\x93NUMPY';

/** Where the header ends, from the file's first 12 bytes. */
export function npyHeaderEnd(first: Uint8Array, fail: Fail): number {
  const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
  const starts = first.length >= 10 && Buffer.from(first.subarray(0, 6)).toString('latin1') === NPY_MAGIC;
  if (!starts) return fail('expected a .npy file, which begins with \\x93NUMPY.');
  const major = first[6]!;
  if (major < 1 || major > 3) return fail(`.npy version ${major} is not known; known are 1, 2 and 3.`);
  if (major === 1) return 10 + view.getUint16(8, true);
  return first.length >= 12 ? 12 + view.getUint32(8, true) : fail('the .npy header is cut short.');
}

/** Far beyond what an array's description takes; NumPy's own reader stops at 10,000. */
export const MOST_HEADER_BYTES = 1 << 20;

/**
 * @param bytes the file's first `npyHeaderEnd` bytes
 * @param file for messages, as `name` is
 */
export function parseNpyHeader(bytes: Uint8Array, name: string, file: string, fail: Fail): NpyHeader {
  const text = bytes.subarray(bytes[6] === 1 ? 10 : 12);
  const literal = bytes[6] === 3 ? strictUtf8(text, 'the .npy header', fail) : Buffer.from(text).toString('latin1');
  const found = HEADER.exec(literal);
  if (!found) {
    return fail(
      `the .npy header is not {'descr': ..., 'fortran_order': ..., 'shape': ...}: ${literal.trim().slice(0, 80)}.`,
    );
  }
  const { descr, order, shape: lengths } = found.groups as { descr: string; order: string; shape: string };
  const shape = lengths.split(',').filter((length) => length.trim() !== '').map((length) => Number.parseInt(length, 10)); // biome-ignore format: one step
  const { dtype, bigEndian } = typeOf(descr, fail);
  const dataBytes = bytesOf(shape, DTYPE_BITS[dtype], name, file);
  return { dtype, bigEndian, fortranOrder: order === 'True', shape, dataStart: bytes.length, dataBytes };
}

/** The Python literal that NumPy writes, its keys in the order of the alphabet (`write_array_header`); old versions wrote lengths as 3L. */
const HEADER = new RegExp(
  [
    String.raw`^\{\s*'descr':\s*(?:'(?<descr>[^']*)')\s*,\s*'fortran_order':\s*(?<order>True|False)\s*,`,
    String.raw`\s*'shape':\s*\((?<shape>\s*|\s*\d{1,16}L?\s*,\s*|\s*\d{1,16}L?(?:\s*,\s*\d{1,16}L?)+\s*,?\s*)\)\s*,?\s*\}\s*$`,
  ].join(''),
);

/** NumPy's kinds and sizes; of others, what a user can do. */
const TYPES: Readonly<Record<string, Dtype>> = {
  f8: 'F64', f4: 'F32', f2: 'F16', i8: 'I64', i4: 'I32', i2: 'I16', i1: 'I8', u8: 'U64', u4: 'U32', u2: 'U16', u1: 'U8', b1: 'BOOL',
  V2: 'BF16', // what ml_dtypes' bfloat16 is saved as, and the one kind of two bytes that NumPy itself has no name for
  f1: 'F8_E5M2', // ml_dtypes again
  bfloat16: 'BF16', float8_e5m2: 'F8_E5M2', float8_e4m3fn: 'F8_E4M3', // by name, as writers other than NumPy do
}; // biome-ignore format: a table

function typeOf(descr: string, fail: Fail): { dtype: Dtype; bigEndian: boolean } {
  const kind = descr.replace(/^[<>|=]/, '');
  const dtype = Object.hasOwn(TYPES, kind) ? TYPES[kind]! : null;
  if (dtype !== null) return { dtype, bigEndian: descr.startsWith('>') && DTYPE_BITS[dtype] > 8 };
  const known = 'f8, f4, f2, i1 to i8, u1 to u8, b1, and bfloat16 as ml_dtypes saves it';
  return fail(
    kind === 'V1'
      ? "the array's dtype is V1, which ml_dtypes saves several 8-bit and 4-bit types as; save it as float32."
      : `the array's dtype is ${JSON.stringify(descr)}; known are ${known}; save it as float32.`,
  );
}
