import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { TouchstoneError, UsageError } from './errors.js';

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

/** Has something removed when the process ends, as Ctrl-C ends it wherever it is. @returns what calls that off */
export function removedAtExit(path: string): () => void {
  const remove = () => rmSync(path, { recursive: true, force: true });
  process.once('exit', remove);
  return () => process.removeListener('exit', remove);
}

/**
 * Fills a folder that is not there yet, or is empty: beside its place (within it, where it is there), then moved. What is made is there whole, or
 * not at all, whatever is thrown and whenever the process ends.
 * @throws UsageError for a place that is taken
 */
export async function fillFolder<Result>(out: string, fill: (folder: string) => Promise<Result>): Promise<Result> {
  const there = existsSync(out);
  if (there && !statSync(out).isDirectory())
    throw new UsageError(`${out}: is a file; name a folder that is empty, or not there yet.`);
  if (there && readdirSync(out).length > 0)
    throw new UsageError(`${out}: is not empty; name a folder that is, or is not there yet.`);
  const beside = there ? join(out, `.${process.pid}.part`) : `${resolve(out)}.${process.pid}.part`;
  const kept = removedAtExit(beside);
  try {
    mkdirSync(beside);
    const result = await fill(beside);
    if (there) for (const name of readdirSync(beside)) renameSync(join(beside, name), join(out, name));
    else renameSync(beside, out);
    return result;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === undefined ? error : new TouchstoneError(`${out}: cannot be written (${code}).`);
  } finally {
    rmSync(beside, { recursive: true, force: true });
    kept();
  }
}
