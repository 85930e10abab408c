import { RequestError } from '../../src/errors.js';
import type { Precision } from '../../src/tensor/tensor.js';
import type { CacheBlock, StreamRows, StreamSchema } from '../streams.js';

/** The dtype in which a cache stores its rows. */
export type KvDtype = 'float32' | 'float64';

export interface CacheOptions {
  /** The streams of each layer, from its strategy. */
  readonly layers: readonly (readonly StreamSchema[])[];
  /** The precision in which blocks are read. */
  readonly precision: Precision;
  readonly dtype: KvDtype;
}

/**
 * Where the streams of one sequence live, by absolute position. One forward pass is: `begin`, then for each layer `write` and
 * `blocks`, then `commit`. A pass that fails ends with `abort` in its place.
 */
export interface KvCache {
  /** The position after the last committed token: the next pass must feed the sequence from here on. */
  readonly next: number;
  /** Makes room for tokens at these positions. Throws, and changes nothing, if it cannot hold them. */
  begin(positions: Int32Array): void;
  /** Stores the rows of the tokens that were begun. */
  write(layer: number, rows: StreamRows): void;
  /** The stored tokens of a layer, with those just written, in ascending order of position. */
  blocks(layer: number): readonly CacheBlock[];
  /** Makes the begun tokens part of the cache: once a forward pass. */
  commit(): void;
  /** Gives back what the begun tokens took: the pass has failed. */
  abort(): void;
  /** Bytes that rows occupy, and bytes that are allocated for rows. */
  bytes(): { readonly used: number; readonly allocated: number };
}

/** What every cache asks of the positions that are begun. @throws RequestError unless they ascend, from `next` on. */
export function expectAscending(next: number, positions: Int32Array): void {
  let least = next;
  for (const position of positions) {
    if (position < least) {
      throw new RequestError(`A cache that goes on at position ${least} cannot take a token at ${position}.`);
    }
    least = position + 1;
  }
}

/** Two passes at once on one cache would write into each other's rows. @throws RequestError if one is under way. */
export function expectIdle(begun: boolean): void {
  if (begun) throw new RequestError('A pass is under way on this cache; end it with commit or abort first.');
}
