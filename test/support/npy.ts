/** Builds .npy and zip files byte by byte, so that they can be wrong. */
import { deflateRawSync } from 'node:zlib';
import { crc32 } from '../../src/reference/dump/crc32.js';

export interface NpyParts {
  readonly descr?: string;
  readonly fortran?: boolean;
  /** As it stands in the file: (2, 3). */
  readonly shape?: string;
  readonly version?: 1 | 2 | 3;
  /** In place of the whole literal. */
  readonly literal?: string;
}

export function npy(data: Uint8Array, parts: NpyParts = {}): Buffer {
  const { descr = '<f4', fortran = false, shape = `(${data.length / 4},)`, version = 1 } = parts;
  const given = `{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': ${shape}, }`;
  const literal = Buffer.from(`${parts.literal ?? given}\n`, version === 3 ? 'utf8' : 'latin1');
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  if (version === 1) length.writeUInt16LE(literal.length);
  else length.writeUInt32LE(literal.length);
  return Buffer.concat([Buffer.from(`\x93NUMPY${String.fromCharCode(version)}\0`, 'latin1'), length, literal, data]);
}

export function bytesOf(
  array: Float32Array | Float64Array | Int32Array | BigInt64Array | Uint16Array | Uint8Array,
): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

export interface Zipped {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly deflate?: boolean;
  /** What the directory says, where it lies. */
  readonly claims?: { size?: number; crc?: number; method?: number; flags?: number; at?: number; localName?: string };
}

export interface ZipParts {
  /** Sizes and places in zip64's extra fields, and zip64's end record. */
  readonly wide?: boolean;
  /** How many files the end record says. */
  readonly count?: number;
  /** Bytes between the files and the directory, and before the end record. */
  readonly gap?: Uint8Array;
}

export function zip(
  files: readonly Zipped[],
  { wide = false, count = files.length, gap = new Uint8Array() }: ZipParts = {},
): Buffer {
  const [bodies, entries]: [Buffer[], Buffer[]] = [[], []];
  let at = 0;
  for (const file of files) {
    const { name, deflate = false, claims = {} } = file;
    const packed = deflate ? deflateRawSync(file.bytes) : file.bytes;
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(wide ? 45 : 20, 0);
    shared.writeUInt16LE(claims.flags ?? 0, 2);
    shared.writeUInt16LE(claims.method ?? (deflate ? 8 : 0), 4);
    shared.writeUInt32LE(claims.crc ?? crc32(file.bytes), 10);
    const size = claims.size ?? file.bytes.length;
    shared.writeUInt32LE(wide ? 0xffffffff : packed.length, 14);
    shared.writeUInt32LE(wide ? 0xffffffff : size, 18);
    shared.writeUInt16LE(Buffer.byteLength(name), 22);
    const place = claims.at ?? at;
    const extra = wide ? longs([size, packed.length, place]) : Buffer.alloc(0);
    shared.writeUInt16LE(extra.length, 24);
    const localName = Buffer.from(claims.localName ?? name);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), shared, localName, extra, packed]);
    local.writeUInt16LE(localName.length, 26);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(wide ? 0xffffffff : place, 10);
    entries.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\0'), shared, tail, Buffer.from(name), extra]));
    bodies.push(local);
    at += local.length;
  }
  const directory = Buffer.concat(entries);
  return Buffer.concat([
    ...bodies,
    directory,
    gap,
    wide ? wideEnd(count, directory.length, at) : Buffer.alloc(0),
    end(count, directory.length, at, wide),
  ]);
}

/** Zip64's extra field. */
function longs(values: readonly number[]): Buffer {
  const extra = Buffer.alloc(4 + 8 * values.length);
  extra.writeUInt16LE(1, 0);
  extra.writeUInt16LE(8 * values.length, 2);
  for (const [i, value] of values.entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * i);
  return extra;
}

function wideEnd(count: number, bytes: number, at: number): Buffer {
  const record = Buffer.alloc(56);
  record.write('PK\x06\x06');
  record.writeBigUInt64LE(44n, 4);
  record.writeBigUInt64LE(BigInt(count), 24);
  for (const [i, value] of [count, bytes, at].entries()) record.writeBigUInt64LE(BigInt(value), 32 + 8 * i);
  const locator = Buffer.alloc(20);
  locator.write('PK\x06\x07');
  locator.writeBigUInt64LE(BigInt(at + bytes), 8);
  locator.writeUInt32LE(1, 16);
  return Buffer.concat([record, locator]);
}

function end(count: number, bytes: number, at: number, wide: boolean): Buffer {
  const record = Buffer.alloc(22);
  record.write('PK\x05\x06');
  record.writeUInt16LE(wide ? 0xffff : count, 8);
  record.writeUInt16LE(wide ? 0xffff : count, 10);
  record.writeUInt32LE(wide ? 0xffffffff : bytes, 12);
  record.writeUInt32LE(wide ? 0xffffffff : at, 16);
  return record;
}
