import { CheckpointError } from '../../errors.js';
import { openRandomAccess } from '../random-access.js';
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
  const file = openRandomAccess(path);
  try {
    const { size } = file;
    const length = headerLength(new Uint8Array(file.read(0, Math.min(8, size))), size, path);
    const header = parseHeader(new Uint8Array(file.read(8, length)), size - 8 - length, path);
    const read = (name: string) => {
      const { begin, end } = entryOf(header, name, path);
      return file.read(header.dataStart + begin, end - begin);
    };
    return {
      ...header,
      path,
      read,
      readNumbers: (name) => numbersOf(entryOf(header, name, path), read(name), path),
      close: file.close,
    };
  } catch (error) {
    file.close();
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
