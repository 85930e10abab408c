import { RequestError } from '../../src/errors.js';
import type { Precision } from '../../src/tensor/tensor.js';
import type { CacheBlock, LayerSchema, StreamRows } from '../streams.js';
import type { KvConfig, KvDtype } from './codec/format.js';
import type { LayerRows } from './rows.js';

/** What every cache is told of the model. */
export interface CacheOptions {
  readonly layers: readonly LayerSchema[];
  /** The precision in which blocks are read. */
  readonly precision: Precision;
  /** The form in which rows are kept. */
  readonly dtype: KvDtype | KvConfig;
}

/**
 * Where the streams of one sequence live, by absolute position. Positions are consecutive, from 0 on. One forward pass is: `begin`, then for
 * each layer `write` and `blocks`, then `commit`. A pass that fails ends with `abort` in its place, and the cache is as it was.
 */
export interface KvCache {
  /** The position after the last committed token: the next pass must feed the sequence from here on. */
  readonly next: number;
  /** The committed tokens [next]. A cache may have forgotten rows of theirs that no later token sees. */
  readonly ids: Int32Array;
  /** Makes room for tokens at these positions. Throws, and changes nothing, if it cannot hold them. */
  begin(positions: Int32Array, ids: readonly number[]): void;
  /** Stores the rows of the tokens that were begun. */
  write(layer: number, rows: StreamRows): void;
  /**
   * The stored tokens of a layer, with those just written, in ascending order of position. Valid until the pass ends.
   * @param query the position of a token of the pass: rows as it reads them, where that depends on it; the last one's by default
   */
  blocks(layer: number, query?: number): readonly CacheBlock[];
  /** Queries of one epoch read the same rows. One for all, unless recent rows are kept in another form than old ones. */
  epochOf(query: number): number;
  /** Makes the begun tokens part of the cache: once a forward pass. */
  commit(): void;
  /** Gives back what the begun tokens took: the pass has failed. */
  abort(): void;
  /**
   * Forgets the tokens at `position` and after it, so that the sequence can go on from there. @returns exactly the positions that were
   * removed @throws RequestError, and changes nothing, if rows that the token at `position` would see are gone
   */
  rollback(position: number): Int32Array;
  /** Another cache that holds the same tokens; what is fed to one of the two does not change the other. */
  fork(): KvCache;
  /**
   * Lets an empty cache take over rows that another sequence stored for a beginning of these tokens, where the cache shares rows.
   * @returns how many tokens it holds now: 0 where it shares nothing, or nothing is known
   */
  adopt(ids: readonly number[]): number;
  /** All that is held, bit for bit, in arrays of its own. @throws RequestError while a pass is under way */
  contents(): CacheContents;
  /** Lets an empty cache hold the contents of another one. @throws RequestError if it would need rows that are not there */
  restore(contents: CacheContents): void;
  /** Gives everything back; the cache is empty afterwards. */
  release(): void;
  bytes(): CacheBytes;
}

/** Bytes that rows occupy, and bytes that are allocated for rows. */
export interface CacheBytes {
  readonly used: number;
  readonly allocated: number;
}

export function sumOfBytes(each: readonly CacheBytes[]): CacheBytes {
  const sum = (of: keyof CacheBytes) => each.reduce((total, bytes) => total + bytes[of], 0);
  return { used: sum('used'), allocated: sum('allocated') };
}

/** All that a cache holds. */
export interface CacheContents {
  /** [next] */
  readonly ids: Int32Array;
  /** The rows in the form that the cache keeps them in. */
  readonly layers: readonly LayerContents[];
  /** The rows after those that are kept as they were computed; null where the format has no residual. */
  readonly residual: readonly LayerContents[] | null;
}

export interface LayerContents {
  /** [S], ascending */
  readonly positions: Int32Array;
  /** Row i in slot i. */
  readonly rows: LayerRows;
}

/** Takes the last `count` tokens away. @returns their positions @throws RequestError, and changes nothing, if there are not so many */
export function trim(cache: KvCache, count: number): Int32Array {
  if (!Number.isInteger(count) || count < 0 || count > cache.next) {
    throw new RequestError(`Cannot take ${count} tokens from a cache that holds ${cache.next}.`);
  }
  return cache.rollback(cache.next - count);
}
