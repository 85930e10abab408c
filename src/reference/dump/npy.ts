/** Arrays as NumPy saves them. */
import { basename } from 'node:path';
import { openRandomAccess } from '../../checkpoint/random-access.js';
import { DTYPE_BITS } from '../../checkpoint/safetensors/header.js';
import { numbersOf } from '../../checkpoint/safetensors/numbers.js';
import { CheckpointError } from '../../errors.js';
import type { Floats } from '../../tensor/tensor.js';
import { type Dump, type DumpTensor, NO_METADATA } from './dump.js';
import { MOST_HEADER_BYTES, type NpyHeader, npyHeaderEnd, parseNpyHeader } from './npy-header.js';
import { floatsOf, rowMajor } from './values.js';

/** Bytes of a .npy file, wherever they lie. */
export interface NpyBytes {
  /** For messages. */
  readonly file: string;
  readonly size: number;
  /** The first bytes, as many as are asked for, or all where the file is shorter. */
  head(length: number): Uint8Array;
  /** Everything from a place on, in memory of its own. */
  from(position: number): ArrayBuffer;
}

/** A .npy file as a tensor. @throws CheckpointError where it is none, or its size is not what its header says */
export function npyTensor(name: string, bytes: NpyBytes): DumpTensor {
  const fail = (problem: string): never => {
    throw new CheckpointError(`${bytes.file}: tensor ${name}: ${problem}`);
  };
  const end = npyHeaderEnd(bytes.head(12), fail);
  if (end > Math.min(bytes.size, MOST_HEADER_BYTES)) {
    return fail(`the .npy header claims to end at byte ${end} of ${bytes.size}; the file is damaged.`);
  }
  const header = parseNpyHeader(bytes.head(end), name, bytes.file, fail);
  const { shape, dtype, dataStart, dataBytes } = header;
  if (dataBytes !== bytes.size - dataStart) {
    const expected = `${dtype} of shape [${shape.join(', ')}] takes ${dataBytes} bytes`;
    return fail(`${expected}, and ${bytes.size - dataStart} follow the header; the file is damaged.`);
  }
  return { name, dtype, shape, read: () => valuesOf(name, header, bytes.from(dataStart), bytes.file) };
}

function valuesOf(
  name: string,
  { dtype, bigEndian, fortranOrder, shape }: NpyHeader,
  data: ArrayBuffer,
  file: string,
): Floats {
  if (bigEndian) swapInPlace(data, DTYPE_BITS[dtype]);
  const values = floatsOf(numbersOf({ name, dtype }, data, file), name, file);
  return fortranOrder && shape.length > 1 ? rowMajor(values, shape) : values;
}

function swapInPlace(data: ArrayBuffer, bits: number): void {
  const bytes = Buffer.from(data);
  if (bits === 16) bytes.swap16();
  else if (bits === 32) bytes.swap32();
  else if (bits === 64) bytes.swap64();
}

/** One .npy file: its tensor is called what the file is. */
export function openNpy(path: string, name = basename(path).replace(/\.npy$/i, '')): Dump {
  const file = openRandomAccess(path);
  try {
    const tensor = npyTensor(name, {
      file: path,
      size: file.size,
      head: (length) => new Uint8Array(file.read(0, Math.min(length, file.size))),
      from: (position) => file.read(position, file.size - position),
    });
    return { path, tensors: new Map([[name, tensor]]), metadata: NO_METADATA, close: file.close };
  } catch (error) {
    file.close();
    throw error;
  }
}
