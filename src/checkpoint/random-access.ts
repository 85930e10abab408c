import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CheckpointError, TouchstoneError } from '../errors.js';

/** An open file, of which any part can be read. */
export interface RandomAccess {
  readonly path: string;
  /** Bytes of the file when it was opened. */
  readonly size: number;
  /** Bytes in memory of their own, so aligned for every dtype. @throws CheckpointError where the file ends before */
  read(position: number, length: number): ArrayBuffer;
  close(): void;
}

/** @throws CheckpointError if there is no such file, or it is a folder */
export function openRandomAccess(path: string): RandomAccess {
  const descriptor = openFile(path);
  return {
    path,
    size: fstatSync(descriptor).size,
    read: (position, length) => readAt(descriptor, position, length, path),
    close: () => closeSync(descriptor),
  };
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
