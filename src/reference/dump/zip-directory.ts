/**
 * What a zip file says that it holds (PKWARE's APPNOTE 6.3): the end record, the one of zip64 before it, which NumPy writes for large files, and
 * the central directory. Local headers are believed in nothing but where the data begins.
 */
import type { RandomAccess } from '../../checkpoint/random-access.js';

export interface ZipEntry {
  readonly name: string;
  readonly method: 'stored' | 'deflated';
  readonly crc: number;
  /** Bytes as they lie in the file, and as they are. */
  readonly packed: number;
  readonly size: number;
  /** Where the local header begins. */
  readonly at: number;
}

export type Fail = (problem: string) => never;

interface Directory {
  readonly at: number;
  readonly bytes: number;
  readonly entries: number;
}

const [END, END_64, LOCATOR_64, CENTRAL] = [0x06054b50, 0x06064b50, 0x07064b50, 0x02014b50];
/** An end record is 22 bytes and a comment of at most 65,535; zip64's locator is 20 bytes before it. */
const [END_BYTES, LOCATOR_BYTES, END_64_BYTES, CENTRAL_BYTES, LONGEST_COMMENT] = [22, 20, 56, 46, 0xffff];
const MOST_DIRECTORY_BYTES = 100_000_000;

/** The entries of a zip file, in its order, and where its directory begins. */
export function readDirectory(file: RandomAccess, fail: Fail): { entries: ZipEntry[]; directoryAt: number } {
  const directory = findDirectory(file, fail);
  if (directory.bytes > MOST_DIRECTORY_BYTES) fail(`the zip's directory claims ${directory.bytes} bytes.`);
  const bytes = Buffer.from(file.read(directory.at, directory.bytes));
  const entries: ZipEntry[] = [];
  let at = 0;
  while (at < bytes.length) {
    const next = entryEnd(bytes, at, fail);
    entries.push(readEntry(bytes.subarray(at, next), fail));
    at = next;
  }
  if (entries.length !== directory.entries) {
    fail(`the zip's end says ${directory.entries} files, and its directory has ${entries.length}.`);
  }
  return { entries, directoryAt: directory.at };
}

function findDirectory(file: RandomAccess, fail: Fail): Directory {
  const tailAt = Math.max(0, file.size - END_BYTES - LONGEST_COMMENT - LOCATOR_BYTES);
  const tail = Buffer.from(file.read(tailAt, file.size - tailAt));
  const end = endRecord(tail);
  if (end === null) return fail('the end of the zip file is missing; it was cut short.');
  const plain = {
    entries: tail.readUInt16LE(end + 10),
    bytes: tail.readUInt32LE(end + 12),
    at: tail.readUInt32LE(end + 16),
  };
  const wide = plain.entries === 0xffff || plain.bytes === 0xffffffff || plain.at === 0xffffffff;
  if (tail.readUInt16LE(end + 4) !== 0 || tail.readUInt16LE(end + 6) !== 0)
    fail('the zip file is one of several parts.');
  const locator = end - LOCATOR_BYTES;
  if (!wide || locator < 0 || tail.readUInt32LE(locator) !== LOCATOR_64) return tiled(plain, tailAt + end, fail);
  return readEnd64(file, asNumber(tail.readBigUInt64LE(locator + 8), fail), tailAt + locator, fail);
}

/** Where the end record begins: the last place that has its signature and a comment as long as what follows. */
function endRecord(tail: Buffer): number | null {
  for (let at = tail.length - END_BYTES; at >= 0; at--) {
    if (tail.readUInt32LE(at) === END && at + END_BYTES + tail.readUInt16LE(at + 20) === tail.length) return at;
  }
  return null;
}

function readEnd64(file: RandomAccess, at: number, before: number, fail: Fail): Directory {
  if (at + END_64_BYTES > before) return fail("the zip's end points past itself; the file is damaged.");
  const end = Buffer.from(file.read(at, END_64_BYTES));
  if (end.readUInt32LE(0) !== END_64) return fail("the zip's end points at no end record; the file is damaged.");
  const [entries, bytes, begin] = [32, 40, 48].map((place) => asNumber(end.readBigUInt64LE(place), fail));
  return tiled({ entries: entries!, bytes: bytes!, at: begin! }, at, fail);
}

/** The directory must lie right before the record that describes it. */
function tiled(directory: Directory, end: number, fail: Fail): Directory {
  if (directory.at + directory.bytes === end) return directory;
  return fail(
    `the zip's directory should end at byte ${directory.at + directory.bytes}, and what describes it is at ${end}; the file is damaged.`,
  );
}

function entryEnd(bytes: Buffer, at: number, fail: Fail): number {
  const whole = at + CENTRAL_BYTES <= bytes.length && bytes.readUInt32LE(at) === CENTRAL;
  const end = whole
    ? at + CENTRAL_BYTES + [28, 30, 32].reduce((sum, place) => sum + bytes.readUInt16LE(at + place), 0)
    : 0;
  return end > at && end <= bytes.length ? end : fail(`the zip's directory is damaged at its byte ${at}.`);
}

function readEntry(entry: Buffer, fail: Fail): ZipEntry {
  const [flags, method, nameBytes, extraBytes] = [8, 10, 28, 30].map((place) => entry.readUInt16LE(place)) as [number, number, number, number]; // biome-ignore format: one record
  const name = entry.subarray(CENTRAL_BYTES, CENTRAL_BYTES + nameBytes).toString('utf8');
  if (flags & 1) return fail(`${name} is encrypted.`);
  if (method !== 0 && method !== 8)
    return fail(`${name} is packed by method ${method}; known are 0 (stored) and 8 (deflated).`);
  const extra = entry.subarray(CENTRAL_BYTES + nameBytes, CENTRAL_BYTES + nameBytes + extraBytes);
  const narrow = [24, 20, 42].map((place) => entry.readUInt32LE(place)) as [number, number, number];
  const [size, packed, at] = widened(narrow, extra, name, fail);
  if (method === 0 && size !== packed) fail(`${name} is stored as it is, in ${packed} bytes and not ${size}.`);
  return { name, method: method === 0 ? 'stored' : 'deflated', crc: entry.readUInt32LE(16), packed, size, at };
}

/** Sizes of all ones stand in the extra field of zip64, in this order. */
function widened(
  narrow: readonly [number, number, number],
  extra: Buffer,
  name: string,
  fail: Fail,
): [number, number, number] {
  const wanted = narrow.filter((value) => value === 0xffffffff).length;
  if (wanted === 0) return [...narrow];
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    const bytes = extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) !== 1 || bytes < 8 * wanted || at + 4 + bytes > extra.length) continue;
    let place = at + 4 - 8;
    return narrow.map((value) => {
      if (value === 0xffffffff) place += 8;
      return value === 0xffffffff ? asNumber(extra.readBigUInt64LE(place), fail) : value;
    }) as [number, number, number];
  }
  return fail(`${name} is longer than 4 GB and the zip's directory does not say how long.`);
}

function asNumber(value: bigint, fail: Fail): number {
  return value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : fail(`the zip's directory has the impossible number ${value}.`);
}
