import { RequestError, ShapeError } from '../../src/errors.js';
import {
  expectShape,
  type Floats,
  flat,
  floats,
  type Precision,
  type Tensor,
  tensor,
} from '../../src/tensor/tensor.js';
import type { CacheBlock, StreamRows, StreamSchema } from '../streams.js';
import type { KvDtype } from './cache.js';

/** Storage for rows of one layer: slots 0, 1, ... of each stream in one array [capacity, heads, dim]. */
export class LayerRows {
  capacity = 0;
  private readonly stored = new Map<string, Floats>();
  private readonly streams: readonly StreamSchema[];
  private readonly precision: Precision;
  private readonly dtype: KvDtype;

  constructor(streams: readonly StreamSchema[], precision: Precision, dtype: KvDtype) {
    this.streams = streams;
    this.precision = precision;
    this.dtype = dtype;
    for (const { name } of streams) this.stored.set(name, this.allocate(0, 0));
  }

  /** Bytes of one token's rows. */
  get tokenBytes(): number {
    return tokenBytes(this.streams, this.dtype);
  }

  /** Holds `capacity` slots from now on; the first `keep` are kept. @throws RequestError, and changes nothing, if memory is short */
  resize(capacity: number, keep: number): void {
    const larger = this.streams.map(({ heads, dim }) => this.allocate(capacity * heads * dim, capacity));
    for (const [i, { name, heads, dim }] of this.streams.entries()) {
      larger[i]!.set(this.stored.get(name)!.subarray(0, keep * heads * dim));
      this.stored.set(name, larger[i]!);
    }
    this.capacity = capacity;
  }

  private allocate(values: number, tokens: number): Floats {
    try {
      return floats(this.dtype, values);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const bytes = tokens * this.tokenBytes;
      throw new RequestError(
        `There is no memory for a cache of ${tokens} tokens (${bytes} bytes a layer); ask for fewer.`,
      );
    }
  }

  /** Stores `count` rows of every stream from slot `to` on: those of `rows` from its row `from` on. */
  writeInto(to: number, count: number, rows: StreamRows, from = 0): void {
    for (const { name, heads, dim } of this.streams) {
      const given = rows[name];
      if (!given)
        throw new ShapeError(`The cache stores a stream '${name}' for each token, and the strategy gave none.`);
      expectShape(given, name, { T: given.shape[0]!, G: heads, K: dim });
      if (given.shape[0]! < from + count) {
        throw new ShapeError(`${name}: expected rows of ${from + count} tokens, got ${given.shape[0]}.`);
      }
      const [size, data] = [heads * dim, flat(given)];
      this.stored.get(name)!.set(data.subarray(from * size, (from + count) * size), to * size);
    }
  }

  /** Copies `count` slots of another store, bit for bit. */
  copyFrom(other: LayerRows, from: number, to: number, count: number): void {
    for (const { name, heads, dim } of this.streams) {
      const [size, source] = [heads * dim, other.stored.get(name)!];
      this.stored.get(name)!.set(source.subarray(from * size, (from + count) * size), to * size);
    }
  }

  /** A store of its own with the same first `keep` slots. */
  copy(keep: number): LayerRows {
    const copy = new LayerRows(this.streams, this.precision, this.dtype);
    copy.resize(this.capacity, 0);
    copy.copyFrom(this, 0, 0, keep);
    return copy;
  }

  /** The slots from `from` on as one block, at these positions. */
  block(from: number, positions: Int32Array): CacheBlock {
    return { positions, read: (stream) => this.read(stream, from, positions.length) };
  }

  private read(stream: string, from: number, count: number): Tensor {
    const schema = this.streams.find(({ name }) => name === stream);
    if (!schema)
      throw new ShapeError(`The cache holds no stream '${stream}', only ${[...this.stored.keys()].join(', ')}.`);
    const { heads, dim } = schema;
    const rows = this.stored.get(stream)!.subarray(from * heads * dim, (from + count) * heads * dim);
    return tensor(this.dtype === this.precision ? rows : widened(rows, this.precision), [count, heads, dim]);
  }
}

/** Bytes that one token's rows take in a layer of these streams. */
export function tokenBytes(streams: readonly StreamSchema[], dtype: KvDtype): number {
  const values = streams.reduce((sum, { heads, dim }) => sum + heads * dim, 0);
  return values * (dtype === 'float64' ? 8 : 4);
}

function widened(rows: Floats, precision: Precision): Floats {
  const copy = floats(precision, rows.length);
  copy.set(rows);
  return copy;
}
