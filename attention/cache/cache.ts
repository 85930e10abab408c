import type { Precision, Tensor } from '../../src/tensor/tensor.js';

/** A named stream that a strategy stores for each token: keys, values, latents, ... as rows [heads, dim]. */
export interface StreamSchema {
  readonly name: string;
  readonly heads: number;
  readonly dim: number;
}

/** New rows of each stream, by name: [T, heads, dim]. */
export type StreamRows = Readonly<Record<string, Tensor>>;

/** A run of stored tokens. Every cache is a list of blocks, every kernel a fold over them. */
export interface CacheBlock {
  /** The absolute positions of its rows, ascending [S]: the only source of truth about where a row belongs. */
  readonly positions: Int32Array;
  /** The rows of a stream [S, heads, dim] in the working precision: a view where they are stored so, else widened. */
  read(stream: string): Tensor;
}

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
 * `blocks`, then `commit`. A pass that fails is never committed, and the next `begin` drops its rows.
 */
export interface KvCache {
  readonly kind: string;
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
  /** Bytes that rows occupy, and bytes that are allocated for rows. */
  bytes(): { readonly used: number; readonly allocated: number };
}
