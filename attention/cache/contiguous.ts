import { RequestError } from '../../src/errors.js';
import { type CacheBlock, consecutive, type LayerSchema, type StreamRows } from '../streams.js';
import type { CacheOptions, LayerContents } from './cache.js';
import { asStreamRows, expectAllRows } from './contents.js';
import type { LayerStore } from './layered.js';
import { LayerRows } from './rows.js';

const FIRST_CAPACITY = 64;

/** All rows in one array a stream, in order of position, so one block. */
export class ContiguousStore implements LayerStore {
  private length = 0;
  private begun = 0;
  private rows: LayerRows;
  private readonly schema: LayerSchema;
  private readonly options: CacheOptions;
  private readonly preallocated: number | null;

  /** @param preallocated tokens that are allocated at once, and the most that fit; null: the arrays double when they are full */
  constructor(schema: LayerSchema, options: CacheOptions, preallocated: number | null) {
    this.schema = schema;
    this.options = options;
    this.preallocated = preallocated;
    this.rows = new LayerRows(schema.streams, options.precision, options.dtype);
    if (preallocated !== null) this.rows.resize(preallocated, 0);
  }

  begin(count: number): void {
    const needed = this.length + count;
    if (needed > this.rows.capacity) {
      if (this.preallocated !== null) {
        throw new RequestError(
          `The cache was preallocated for ${this.preallocated} tokens, and ${needed} are needed; raise cacheTokens (--cache-tokens), or choose contiguous, which grows.`,
        );
      }
      this.rows.resize(Math.max(needed, 2 * this.rows.capacity, FIRST_CAPACITY), this.length);
    }
    this.begun = count;
  }

  write(rows: StreamRows): void {
    this.rows.writeInto(this.length, this.begun, rows);
  }

  blocks(): readonly CacheBlock[] {
    return [this.rows.block(0, consecutive(0, this.length + this.begun))];
  }

  commit(): void {
    this.length += this.begun;
    this.begun = 0;
  }

  abort(): void {
    this.begun = 0;
  }

  expectRollback(): void {}

  rollback(position: number): void {
    this.length = position;
  }

  load(contents: LayerContents, next: number): void {
    expectAllRows(contents, next);
    this.begin(next);
    this.write(asStreamRows(contents, this.schema.streams));
    this.commit();
  }

  fork(): LayerStore {
    const copy = new ContiguousStore(this.schema, this.options, this.preallocated);
    copy.rows = this.rows.copy(this.length);
    copy.length = this.length;
    return copy;
  }

  release(): void {
    this.length = 0;
    if (this.preallocated === null) this.rows.resize(0, 0);
  }

  bytes(): { used: number; allocated: number } {
    const token = this.rows.tokenBytes;
    return { used: this.length * token, allocated: this.rows.capacity * token };
  }
}
