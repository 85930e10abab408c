/** What passes between strategy, cache and kernel: named streams of rows, and blocks of them with their positions. */
import { rowsOf, type Tensor } from '../src/tensor/tensor.js';
import type { StoredRows } from './stored.js';

/** A named stream that a strategy stores for each token: keys, values, latents, ... as rows [heads, dim]. */
export interface StreamSchema {
  readonly name: string;
  readonly heads: number;
  readonly dim: number;
  /** Queries are compared with it: it is a key, or a part of one. (Keys have channels that are large in every token; values have not.) */
  readonly key: boolean;
}

/** New rows of each stream, by name: [T, heads, dim]. */
export type StreamRows = Readonly<Record<string, Tensor>>;

/** A run of stored tokens. Every cache is a list of blocks, every kernel a fold over them. */
export interface CacheBlock {
  /** The absolute positions of its rows, ascending [S]: the only source of truth about where a row belongs. */
  readonly positions: Int32Array;
  /** The rows of a stream [S, heads, dim] in the working precision: a view where they are stored so, else widened. */
  read(stream: string): Tensor;
  /** Where they are kept, if they stay beyond the pass; without it a kernel may only `read` them. */
  readonly stored?: StoredRows | null;
}

/** Which rows of the past a layer may still ask for: all that a cache is told of a visibility rule. */
export interface Retention {
  /** Positions below this one are never forgotten. 0 for most rules. */
  readonly sinks: number;
  /** The oldest position, sinks aside, that this query sees; no later query sees an older one. */
  oldest(query: number): number;
  /** The most positions, sinks aside, that one query sees, itself counted: Infinity where nothing is ever forgotten. */
  readonly span: number;
}

/** What a cache is told of one layer. */
export interface LayerSchema {
  readonly streams: readonly StreamSchema[];
  readonly retention: Retention;
}

/** The rows of a block at positions [from, to). */
export function between(block: CacheBlock, from: number, to: number): CacheBlock {
  const [first, end] = [rowsBefore(block, from), rowsBefore(block, to)];
  const positions = block.positions.subarray(first, end);
  const stored = block.stored ? { store: block.stored.store, from: block.stored.from + first } : null;
  return { positions, read: (stream) => rowsOf(block.read(stream), first, end), stored };
}

function rowsBefore({ positions }: CacheBlock, position: number): number {
  const first = positions.findIndex((other) => other >= position);
  return first < 0 ? positions.length : first;
}

/** Consecutive positions: from, from + 1, ... */
export function consecutive(from: number, count: number): Int32Array {
  const positions = new Int32Array(count);
  for (let i = 0; i < count; i++) positions[i] = from + i; // many times faster than Int32Array.from with a function
  return positions;
}
