/**
 * Rows as integers of 8 or 4 bits with a scale for each group of values, in float32 arithmetic:
 *
 *   symmetric  s = max|x| / 127 (7 for 4 bits)      q = clamp(round(x / s), -127, 127)     read as  q s
 *   affine     s = (max x - min x) / 255 (15)       q = clamp(round((x - z) / s), 0, 255)  read as  q s + z,  z = min x
 *
 * (affine as in KIVI, Liu et al. 2024, equation 1). Rounding is to the nearest, ties to even. s and z are rounded to their dtype, saturating, before they are
 * used, so that x is quantised with what it will be read with. A group whose scale is 0 is all zeros (or z). Integers have no NaN: a group that
 * holds NaN or an infinity has NaN for its scale and is read as NaN, so that a fault is seen rather than rounded away.
 *
 * Groups run along a token (consecutive values of one head; its last group may be shorter) or along a channel (consecutive tokens from a
 * multiple of the group on). Two 4-bit values lie in a byte, the even one in the low half; a token's row begins with a byte.
 */
import { ShapeError } from '../../../src/errors.js';
import { roundedToEven, roundTo16, tableOf } from '../../../src/tensor/dtype.js';
import { type Floats, floats, type Precision } from '../../../src/tensor/tensor.js';
import type { Stored, StoredForm } from '../../stored.js';
import type { StreamSchema } from '../../streams.js';
import { type RowCodec, storedPart } from './codec.js';
import type { IntegerFormat } from './format.js';

const f = Math.fround;

/** How the values of a run of `slots` rows fall into `count` groups, and the group of each value of a row. */
interface Grouping {
  readonly slots: number;
  readonly count: number;
  readonly shape: readonly number[];
  readonly groupOf: Int32Array;
}

/** The codes of a format: from `least` to `most`, 0 among them. */
interface Range {
  readonly least: number;
  readonly most: number;
  readonly bits: 4 | 8;
}

/** What encoding and decoding share. */
interface Scheme {
  /** Values a row. */
  readonly size: number;
  readonly rowBytes: number;
  readonly range: Range;
  readonly grouping: Grouping;
  /** Of scales and minima. */
  readonly dtype: 'F16' | 'F32';
  readonly floatAt: (scales: Stored, at: number) => number;
}

export function integerCodec(format: IntegerFormat, stream: StreamSchema): RowCodec {
  const size = stream.heads * stream.dim;
  const range = rangeOf(format);
  const rowBytes = Math.ceil((size * range.bits) / 8);
  const grouping = groupingOf(format, stream);
  const dtype = format.scaleDtype === 'float16' ? 'F16' : 'F32';
  const scheme: Scheme = { size, rowBytes, range, grouping, dtype, floatAt: readerOf(dtype) };
  const shared = (name: 'scales' | 'minima') => storedPart(name, dtype, grouping.slots, grouping.shape);
  return {
    parts: [
      storedPart('values', 'U8', 1, [rowBytes]),
      shared('scales'),
      ...(format.zero === 'affine' ? [shared('minima')] : []),
    ],
    form: formOf(format, stream, range, dtype),
    encode(rows, fromRow, count, arrays, toSlot) {
      const { slots } = grouping;
      expectWholeRuns(slots, count, toSlot);
      for (let done = 0; done < count; done += slots) {
        encodeRun(scheme, rows, (fromRow + done) * size, arrays, toSlot + done);
      }
    },
    decode: (arrays, fromSlot, count, precision) => decoded(scheme, arrays, fromSlot, count, precision),
  };
}

function formOf(
  { zero, keys, group }: IntegerFormat,
  { key }: StreamSchema,
  { bits, least }: Range,
  dtype: 'F16' | 'F32',
): StoredForm {
  const along = keys === 'channel' && key ? 'channel' : 'token';
  const minima = zero === 'affine';
  return { kind: 'integers', bits, signed: least < 0, minima, group, along, scaleTable: tableOf(dtype) };
}

/** Stores the rows of one run of slots, those of `rows` from the value at `at` on, with the scales that they share. */
function encodeRun(
  { size, rowBytes, range, grouping, dtype, floatAt }: Scheme,
  rows: Floats,
  at: number,
  [values, scales, minima]: readonly Stored[],
  toSlot: number,
): void {
  const first = (toSlot / grouping.slots) * grouping.count;
  scalesInto(scales!, minima, first, measure(rows, at, grouping), range, dtype);
  const codes = new Uint8Array(size);
  for (let row = 0; row < grouping.slots; row++) {
    for (let i = 0; i < size; i++) {
      const g = first + grouping.groupOf[i]!;
      const x = f(rows[at + row * size + i]!);
      codes[i] = quantised(minima ? f(x - floatAt(minima, g)) : x, floatAt(scales!, g), range);
    }
    packInto(values as Uint8Array, (toSlot + row) * rowBytes, codes, range.bits);
  }
}

function decoded(
  { size, rowBytes, range, grouping, floatAt }: Scheme,
  [values, scales, minima]: readonly Stored[],
  fromSlot: number,
  count: number,
  precision: Precision,
): Floats {
  const rows = floats(precision, count * size);
  for (let row = 0; row < count; row++) {
    const slot = fromSlot + row;
    const first = Math.floor(slot / grouping.slots) * grouping.count;
    for (let i = 0; i < size; i++) {
      const g = first + grouping.groupOf[i]!;
      const scaled = f(codeAt(values as Uint8Array, slot * rowBytes, i, range) * floatAt(scales!, g));
      rows[row * size + i] = minima ? f(scaled + floatAt(minima, g)) : scaled;
    }
  }
  return rows;
}

function rangeOf({ dtype, zero }: IntegerFormat): Range {
  const bits = dtype === 'int4' ? 4 : 8;
  if (zero === 'affine') return { least: 0, most: 2 ** bits - 1, bits };
  const most = 2 ** (bits - 1) - 1;
  return { least: -most, most, bits };
}

function groupingOf({ keys, group }: IntegerFormat, { heads, dim, key }: StreamSchema): Grouping {
  if (keys === 'channel' && key) {
    const groupOf = Int32Array.from({ length: heads * dim }, (_, i) => i);
    return { slots: group, count: heads * dim, shape: [heads, dim], groupOf };
  }
  const perHead = Math.ceil(dim / group);
  const groupOf = Int32Array.from({ length: heads * dim }, (_, i) => {
    return Math.floor(i / dim) * perHead + Math.floor((i % dim) / group);
  });
  return { slots: 1, count: heads * perHead, shape: [heads, perHead], groupOf };
}

/** The least and the greatest value of each group; NaN if it holds one. */
function measure(
  rows: Floats,
  at: number,
  { slots, count, groupOf }: Grouping,
): { low: Float32Array; high: Float32Array } {
  const [low, high] = [new Float32Array(count).fill(Infinity), new Float32Array(count).fill(-Infinity)];
  for (let row = 0; row < slots; row++) {
    for (const [i, g] of groupOf.entries()) {
      const x = rows[at + row * groupOf.length + i]!;
      low[g] = Math.min(low[g]!, x); // NaN stays
      high[g] = Math.max(high[g]!, x);
    }
  }
  return { low, high };
}

/** The scale of each group, and where the format is affine its minimum, as they will be read. */
function scalesInto(
  scales: Stored,
  minima: Stored | undefined,
  first: number,
  { low, high }: ReturnType<typeof measure>,
  { most }: Range,
  dtype: 'F16' | 'F32',
): void {
  for (const [g, least] of low.entries()) {
    const greatest = high[g]!;
    const finite = Number.isFinite(least) && Number.isFinite(greatest);
    const width = minima ? f(greatest - least) : Math.max(greatest, -least);
    scales[first + g] = finite ? saturated(f(width / most), dtype) : saturated(Number.NaN, dtype);
    if (minima) minima[first + g] = saturated(finite ? least + 0 : Number.NaN, dtype); // -0 becomes 0
  }
}

const LARGEST = { F16: 65504, F32: 3.4028234663852886e38 } as const;

/** What an array of scales stores of a number: it, or the nearest finite number of that dtype. */
function saturated(value: number, dtype: 'F16' | 'F32'): number {
  if (Number.isNaN(value)) return dtype === 'F16' ? roundTo16('F16', value) : Number.NaN; // one NaN, whatever its bits were
  const within = Math.min(Math.max(value, -LARGEST[dtype]), LARGEST[dtype]);
  return dtype === 'F16' ? roundTo16('F16', within) : within;
}

/** How scales are read from their array. */
function readerOf(dtype: 'F16' | 'F32'): (scales: Stored, at: number) => number {
  const table = tableOf(dtype);
  return table ? (scales, at) => table[scales[at]!]! : (scales, at) => scales[at]!;
}

/** The code of a value. Groups without a scale, or whose scale is no number, have 0. */
function quantised(x: number, scale: number, { least, most }: Range): number {
  if (!(scale > 0)) return 0;
  return Math.min(Math.max(roundedToEven(f(x / scale)), least), most);
}

/** Stores a row's codes, in two's complement where they are signed. */
function packInto(bytes: Uint8Array, at: number, codes: Uint8Array, bits: 4 | 8): void {
  if (bits === 8) bytes.set(codes, at);
  else
    for (let i = 0; i < codes.length; i += 2) bytes[at + i / 2] = (codes[i]! & 15) | (((codes[i + 1] ?? 0) & 15) << 4);
}

/** The i-th code of the row that begins at a byte. */
function codeAt(bytes: Uint8Array, at: number, i: number, { least, bits }: Range): number {
  const code = bits === 8 ? bytes[at + i]! : (bytes[at + (i >> 1)]! >> (4 * (i & 1))) & 15;
  return least < 0 && code >= 2 ** (bits - 1) ? code - 2 ** bits : code;
}

/** A run of slots that share scales is stored whole, from its beginning on: no row of it could be stored by itself. */
function expectWholeRuns(slots: number, count: number, to: number): void {
  if (count % slots === 0 && to % slots === 0) return;
  throw new ShapeError(
    `Channels share a scale in runs of ${slots} rows, and ${count} rows were to be stored from slot ${to} on.`,
  );
}
