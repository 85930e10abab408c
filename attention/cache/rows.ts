import { ShapeError } from '../../src/errors.js';
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

/** Growing storage for the rows of one layer: each stream in one array [capacity, heads, dim]. */
export class LayerRows {
  private readonly stored = new Map<string, Floats>();

  private readonly streams: readonly StreamSchema[];
  private readonly precision: Precision;
  private readonly dtype: KvDtype;

  constructor(streams: readonly StreamSchema[], precision: Precision, dtype: KvDtype) {
    this.streams = streams;
    this.precision = precision;
    this.dtype = dtype;
    for (const { name } of streams) this.stored.set(name, floats(dtype, 0));
  }

  /** Bytes of one token's rows. */
  get tokenBytes(): number {
    const values = this.streams.reduce((sum, { heads, dim }) => sum + heads * dim, 0);
    return values * (this.dtype === 'float64' ? 8 : 4);
  }

  /** Holds at least `capacity` tokens from now on; the first `keep` are kept. */
  resize(capacity: number, keep: number): void {
    for (const { name, heads, dim } of this.streams) {
      const larger = floats(this.dtype, capacity * heads * dim);
      larger.set(this.stored.get(name)!.subarray(0, keep * heads * dim));
      this.stored.set(name, larger);
    }
  }

  /** Stores `count` rows of every stream from row `from` on. */
  writeInto(from: number, count: number, rows: StreamRows): void {
    for (const { name, heads, dim } of this.streams) {
      const given = rows[name];
      if (!given)
        throw new ShapeError(`The cache stores a stream '${name}' for each token, and the strategy gave none.`);
      expectShape(given, name, { T: count, G: heads, K: dim });
      this.stored.get(name)!.set(flat(given), from * heads * dim);
    }
  }

  /** The first rows as one block. */
  block(positions: Int32Array): CacheBlock {
    return { positions, read: (stream) => this.read(stream, positions.length) };
  }

  private read(stream: string, count: number): Tensor {
    const schema = this.streams.find(({ name }) => name === stream);
    if (!schema)
      throw new ShapeError(`The cache holds no stream '${stream}', only ${[...this.stored.keys()].join(', ')}.`);
    const { heads, dim } = schema;
    const rows = this.stored.get(stream)!.subarray(0, count * heads * dim);
    return tensor(this.dtype === this.precision ? rows : widened(rows, this.precision), [count, heads, dim]);
  }
}

function widened(rows: Floats, precision: Precision): Floats {
  const copy = floats(precision, rows.length);
  copy.set(rows);
  return copy;
}
