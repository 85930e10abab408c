import { closeSync, existsSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { TouchstoneError } from './errors.js';

/** Writes chunks to a file beside `path` and renames it: the file is there whole, or not at all. */
export function writeAtomically(path: string, chunks: readonly Uint8Array[]): void {
  const beside = `${path}.${process.pid}.part`;
  try {
    const descriptor = openSync(beside, 'w');
    try {
      for (const chunk of chunks) writeWhole(descriptor, chunk);
    } finally {
      closeSync(descriptor);
    }
    renameSync(beside, path);
  } catch (error) {
    if (existsSync(beside)) rmSync(beside);
    throw new TouchstoneError(`${path}: cannot be written (${(error as NodeJS.ErrnoException).code ?? error}).`);
  }
}

function writeWhole(descriptor: number, chunk: Uint8Array): void {
  for (let done = 0; done < chunk.length; ) {
    done += writeSync(descriptor, chunk, done, Math.min(chunk.length - done, 1 << 30));
  }
}
