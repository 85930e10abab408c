import { RequestError, ShapeError } from '../../src/errors.js';
import { settleInPlace } from '../../src/tensor/emulated.js';
import { expectShape, flat, type Precision, type Tensor, tensor } from '../../src/tensor/tensor.js';
import type { RowStore, Stored, StoredDtype, StoredKind, StoreWatcher } from '../stored.js';
import type { CacheBlock, StreamRows } from '../streams.js';
import { arrayFor, arrayOver, type StoredPart } from './codec/codec.js';
import { bytesOf, type RowLayout } from './codec/layout.js';
import { type Growth, grown } from './growth.js';
import type { LayerPlan } from './layer-plan.js';

/** Storage for rows of one layer: slots 0, 1, ... of each stream, in the arrays of its codec. */
export class LayerRows implements RowStore {
  readonly layout: RowLayout;
  capacity = 0;
  private readonly precision: Precision;
  /** The arrays of each stream, in the order of the layout. */
  private arrays: Stored[][];
  private watchers: StoreWatcher[] = [];

  /** @param precision in which rows are read */
  constructor(layout: RowLayout, precision: Precision) {
    this.layout = layout;
    this.precision = precision;
    this.arrays = this.allocate(0);
  }

  get kind(): StoredKind {
    return this.layout.kind;
  }

  arraysOf(stream: number): readonly Stored[] {
    return this.arrays[stream]!;
  }

  watch(watcher: StoreWatcher): void {
    this.watchers = [...this.watchers.filter(({ active }) => active), watcher];
  }

  /** Bytes of the slots that are allocated. */
  get bytes(): number {
    return bytesOf(this.layout, this.capacity);
  }

  /** Holds `capacity` slots from now on; the first `keep` are kept. @throws RequestError, and changes nothing, if memory is short */
  resize(capacity: number, keep: number): void {
    const before = this.arrays;
    this.arrays = this.allocate(capacity);
    this.capacity = capacity;
    this.eachPart((part, arrays, s, p) => copySlots(part, before[s]![p]!, 0, arrays[p]!, 0, keep));
    for (const watcher of this.watchers) watcher.resized(capacity, keep);
  }

  /** Doubles until it holds `needed` slots, up to `most`. */
  growTo(needed: number, most: number, keep = this.capacity): void {
    if (needed > this.capacity)
      this.resize(grown(this.capacity, needed, boundedGrowth(most, this.layout.alignment)), keep);
  }

  private allocate(capacity: number): Stored[][] {
    try {
      return this.layout.streams.map(({ codec }) => codec.parts.map((part) => arrayFor(part, capacity)));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const bytes = bytesOf(this.layout, capacity);
      throw new RequestError(
        `There is no memory for a cache of ${capacity} tokens (${bytes} bytes a layer); ask for fewer.`,
      );
    }
  }

  /** Stores `count` rows of every stream from slot `to` on: those of `rows` from its row `from` on. */
  writeInto(to: number, count: number, rows: StreamRows, from = 0): void {
    for (const [s, { schema, codec }] of this.layout.streams.entries()) {
      const { name, heads, dim } = schema;
      const given = rows[name];
      if (!given)
        throw new ShapeError(`The cache stores a stream '${name}' for each token, and the strategy gave none.`);
      expectShape(given, name, { T: given.shape[0]!, G: heads, K: dim });
      if (given.shape[0]! < from + count) {
        throw new ShapeError(`${name}: expected rows of ${from + count} tokens, got ${given.shape[0]}.`);
      }
      codec.encode(flat(given), from, count, this.arrays[s]!, to);
    }
    for (const watcher of this.watchers) watcher.wrote(to, count);
  }

  /** Copies `count` slots of another store of this layout, bit for bit: whole runs, where rows come in runs. */
  copyFrom(other: LayerRows, from: number, to: number, count: number): void {
    if (count === 0) return;
    this.expectSlots(other, from + count);
    this.eachPart((part, arrays, s, p) => copySlots(part, other.arrays[s]![p]!, from, arrays[p]!, to, count));
    for (const watcher of this.watchers) watcher.wrote(to, count);
  }

  private expectSlots(other: LayerRows, needed: number): void {
    expectSameForm(other.layout, this.layout);
    if (other.capacity < needed) throw new ShapeError(`Expected rows of ${needed} tokens, got ${other.capacity}.`);
  }

  /** A store of its own with the same first `keep` slots. */
  copy(keep: number, capacity = this.capacity): LayerRows {
    const copy = new LayerRows(this.layout, this.precision);
    copy.resize(capacity, 0);
    copy.copyFrom(this, 0, 0, keep);
    return copy;
  }

  /** The slots from `from` on as one block, at these positions. */
  block(from: number, positions: Int32Array): CacheBlock {
    const read = (stream: string) => this.read(stream, from, positions.length);
    return { positions, read, stored: { store: this, from } };
  }

  private read(stream: string, from: number, count: number): Tensor {
    const s = this.layout.streams.findIndex(({ schema }) => schema.name === stream);
    if (s < 0) {
      const held = this.layout.streams.map(({ schema }) => schema.name);
      throw new ShapeError(`The cache holds no stream '${stream}', only ${held.join(', ')}.`);
    }
    const { schema, codec } = this.layout.streams[s]!;
    const values = codec.decode(this.arrays[s]!, from, count, this.precision);
    settleInPlace(values); // a copy, where a precision is emulated; of another dtype than that, as a cast makes it
    return tensor(values, [count, schema.heads, schema.dim]);
  }

  /** A store that is filled with saved arrays. @param read the bytes of an array by its name, checked to be of this dtype and shape */
  static load(
    { layout, precision }: LayerPlan,
    count: number,
    read: (name: string, dtype: StoredDtype, shape: readonly number[]) => ArrayBuffer,
  ): LayerRows {
    const rows = new LayerRows(layout, precision);
    rows.capacity = count;
    rows.arrays = rows.eachArray((name, part) => {
      return arrayOver(part, read(name, part.dtype, [Math.ceil(count / part.slots), ...part.shape]));
    });
    return rows;
  }

  /** Every array as it is, for its slots: what is saved. */
  stored(): { name: string; dtype: StoredDtype; shape: readonly number[]; data: Stored }[] {
    const each = this.eachArray((name, part, s, p) => {
      const shape = [Math.ceil(this.capacity / part.slots), ...part.shape];
      return { name, dtype: part.dtype, shape, data: this.arrays[s]![p]! };
    });
    return each.flat();
  }

  /** Of each array: its name is its stream's, with that of the part where it is not the values. */
  private eachArray<Result>(act: (name: string, part: StoredPart, s: number, p: number) => Result): Result[][] {
    return this.layout.streams.map(({ schema, codec }, s) =>
      codec.parts.map((part, p) =>
        act(part.name === 'values' ? schema.name : `${schema.name}.${part.name}`, part, s, p),
      ),
    );
  }

  private eachPart(act: (part: StoredPart, arrays: Stored[], s: number, p: number) => void): void {
    for (const [s, { codec }] of this.layout.streams.entries()) {
      for (const [p, part] of codec.parts.entries()) act(part, this.arrays[s]!, s, p);
    }
  }
}

/** @throws RequestError for rows whose bytes mean something else here */
export function expectSameForm(found: RowLayout, expected: RowLayout): void {
  if (found === expected || found.form === expected.form) return;
  throw new RequestError(
    'The rows are kept in another form than this cache keeps its own in; choose the same kvDtype.',
  );
}

/** Of arrays that need never hold more than this many rows, in runs of `run`. */
export function boundedGrowth(most: number, run: number): Growth {
  return { first: 16, most, run };
}

/** Copies what `count` slots have in an array: whole runs of those that share it. */
function copySlots(
  { slots, length }: StoredPart,
  source: Stored,
  from: number,
  target: Stored,
  to: number,
  count: number,
): void {
  if ([from, to, count].some((slot) => slot % slots !== 0)) {
    throw new ShapeError(
      `Channels share a scale in runs of ${slots} rows; ${count} from ${from} to ${to} are no runs.`,
    );
  }
  const first = (from / slots) * length;
  target.set(source.subarray(first, first + (count / slots) * length), (to / slots) * length);
}
