/** Files within a zip file, each read when it is asked for. */
import { constants } from 'node:buffer';
import { inflateRawSync, constants as zlib } from 'node:zlib';
import { openRandomAccess, type RandomAccess } from '../../checkpoint/random-access.js';
import { CheckpointError } from '../../errors.js';
import { crc32 } from './crc32.js';
import { type Fail, readDirectory, type ZipEntry } from './zip-directory.js';

export interface ZipFile {
  readonly path: string;
  readonly entries: readonly ZippedFile[];
  close(): void;
}

interface ZippedFile {
  readonly name: string;
  readonly size: number;
  /** The first bytes, unchecked: at least as many as are asked for, or all. */
  head(length: number): Uint8Array;
  /** All bytes from a place on, in memory of their own, the file's checksum checked. @throws CheckpointError where the data is damaged */
  from(position: number): ArrayBuffer;
}

/** @throws CheckpointError naming the file and the fault: damaged, encrypted, entries that overlap or claim more than deflate can hold */
export function openZip(path: string): ZipFile {
  const file = openRandomAccess(path);
  const fail = (problem: string): never => {
    throw new CheckpointError(`${path}: ${problem}`);
  };
  try {
    const { entries, directoryAt } = readDirectory(file, fail);
    const files = entries
      .filter(({ name }) => !name.endsWith('/'))
      .map((entry) => zipped(file, entry, directoryAt, fail));
    checkNames(files, fail);
    checkSpans(files, fail);
    return { path, entries: files, close: file.close };
  } catch (error) {
    file.close();
    throw error;
  }
}

interface Span extends ZippedFile {
  readonly begin: number;
  readonly end: number;
}

const [LOCAL, LOCAL_BYTES] = [0x04034b50, 30];
/** What a byte of deflate can become: a match of 258 in two bits. */
const MOST_TIMES = 1032;

function zipped(file: RandomAccess, entry: ZipEntry, directoryAt: number, fail: Fail): Span {
  const { name, at, packed, size } = entry;
  if (at + LOCAL_BYTES > directoryAt) return fail(`${name} begins outside of the zip's files.`);
  const local = Buffer.from(file.read(at, LOCAL_BYTES));
  const [nameBytes, extraBytes] = [local.readUInt16LE(26), local.readUInt16LE(28)];
  const dataAt = at + LOCAL_BYTES + nameBytes + extraBytes;
  if (local.readUInt32LE(0) !== LOCAL || dataAt + packed > directoryAt)
    fail(`${name} is not where the zip's directory says.`);
  const localName = Buffer.from(file.read(at + LOCAL_BYTES, nameBytes)).toString('utf8');
  if (localName !== name) fail(`${name} is called ${JSON.stringify(localName)} where it lies in the zip.`);
  if (size > packed * MOST_TIMES) fail(`${name} claims ${size} bytes, more than its ${packed} packed ones can hold.`);
  const data = entry.method === 'stored' ? stored(file, entry, dataAt) : deflated(file, entry, dataAt, fail);
  const checked = (bytes: Uint8Array) => {
    if (bytes.length !== size) fail(`${name} holds ${bytes.length} bytes, and the zip's directory says ${size}.`);
    if (crc32(bytes) !== entry.crc) fail(`${name} is damaged: its checksum is another than the zip's directory says.`);
    return bytes;
  };
  const from = (position: number) => {
    const bytes = checked(data.all());
    return bytes.buffer.slice(bytes.byteOffset + position, bytes.byteOffset + bytes.length) as ArrayBuffer;
  };
  return { name, size, begin: at, end: dataAt + packed, head: data.head, from };
}

interface Data {
  head(length: number): Uint8Array;
  all(): Uint8Array;
}

function stored(file: RandomAccess, { size }: ZipEntry, at: number): Data {
  return {
    head: (length) => new Uint8Array(file.read(at, Math.min(length, size))),
    all: () => new Uint8Array(file.read(at, size)),
  };
}

/** Packed bytes that a head is looked for in, before all are unpacked. */
const HEAD_BYTES = 4096;

function deflated(file: RandomAccess, { name, packed, size }: ZipEntry, at: number, fail: Fail): Data {
  const unpacked = (length: number, finishFlush: number) => {
    if (size > constants.MAX_LENGTH)
      return fail(`${name} is too large to be unpacked at once; write it with np.savez, which does not pack.`);
    try {
      // At least 1, as zlib asks; more than the directory says stops it.
      return inflateRawSync(Buffer.from(file.read(at, length)), { finishFlush, maxOutputLength: Math.max(size, 1) });
    } catch (error) {
      return fail(`${name} cannot be unpacked (${(error as NodeJS.ErrnoException).code}); the file is damaged.`);
    }
  };
  const all = () => unpacked(packed, zlib.Z_FINISH);
  const head = (length: number) => {
    const some = packed <= HEAD_BYTES ? all() : unpacked(HEAD_BYTES, zlib.Z_SYNC_FLUSH);
    return some.length >= Math.min(length, size) ? some : all();
  };
  return { all, head: (length) => new Uint8Array(head(length).subarray(0, length)) };
}

function checkNames(files: readonly ZippedFile[], fail: Fail): void {
  const names = new Set<string>();
  for (const { name } of files) {
    if (names.has(name)) fail(`${name} is in the zip twice.`);
    names.add(name);
  }
}

/** Entries that share bytes make a small file unpack to any size. */
function checkSpans(files: readonly Span[], fail: Fail): void {
  const sorted = [...files].sort((a, b) => a.begin - b.begin);
  for (const [i, { name, begin }] of sorted.entries()) {
    const before = sorted[i - 1];
    if (before && begin < before.end) fail(`${name} and ${before.name} overlap in the zip.`);
  }
}
