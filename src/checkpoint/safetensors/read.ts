import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CheckpointError, TouchstoneError } from '../../errors.js';
import { type Header, headerLength, parseHeader, type TensorEntry } from './header.js';
import { type Numbers, numbersOf } from './numbers.js';

/** An open safetensors file: the header is checked, tensors are read one at a time. */
export interface SafetensorsFile extends Header {
  readonly path: string;
  /** The bytes of a tensor in memory of their own, so aligned for every dtype. @throws CheckpointError if there is none. */
  read(name: string): ArrayBuffer;
  /** The values of a tensor, in the typed array that its dtype asks for. @throws CheckpointError if there is none, or its dtype has none */
  readNumbers(name: string): Numbers;
  close(): void;
}

/** Opens a file and checks its header whole. @throws CheckpointError naming the file, the tensor and the fault. */
export function openSafetensors(path: string): SafetensorsFile {
  const descriptor = openFile(path);
  try {
    const size = fstatSync(descriptor).size;
    const first = new Uint8Array(readAt(descriptor, 0, Math.min(8, size), path));
    const length = headerLength(first, size, path);
    const header = parseHeader(new Uint8Array(readAt(descriptor, 8, length, path)), size - 8 - length, path);
    const read = (name: string) => {
      const { begin, end } = entryOf(header, name, path);
      return readAt(descriptor, header.dataStart + begin, end - begin, path);
    };
    return {
      ...header,
      path,
      read,
      readNumbers: (name) => numbersOf(entryOf(header, name, path), read(name), path),
      close: () => closeSync(descriptor),
    };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** Opens a file, uses it and closes it. */
export function withSafetensors<Result>(path: string, use: (file: SafetensorsFile) => Result): Result {
  const file = openSafetensors(path);
  try {
    return use(file);
  } finally {
    file.close();
  }
}

function entryOf(header: Header, name: string, path: string): TensorEntry {
  const entry = header.tensors.get(name);
  if (!entry) throw new CheckpointError(`${path}: there is no tensor ${JSON.stringify(name)}.`);
  return entry;
}

function openFile(path: string): number {
  try {
    const descriptor = openSync(path, 'r');
    if (fstatSync(descriptor).isFile()) return descriptor;
    closeSync(descriptor);
    throw new CheckpointError(`${path}: expected a file, got a folder.`);
  } catch (error) {
    if (error instanceof TouchstoneError) throw error;
    throw new CheckpointError(`${path}: cannot be opened (${(error as NodeJS.ErrnoException).code}).`);
  }
}

/** One read call takes at most 2^31 - 1 bytes. */
const LARGEST_READ = 1 << 30;

function readAt(descriptor: number, position: number, length: number, path: string): ArrayBuffer {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const count = readSync(descriptor, bytes, done, Math.min(length - done, LARGEST_READ), position + done);
    if (count === 0) throw new CheckpointError(`${path}: the file became shorter while it was read.`);
    done += count;
  }
  return bytes.buffer;
}
