/** Attention of one layer as a model asks for it: a cache that holds a sequence, and the passes that go on from it, one like the other. */
import type { KvCache } from '../../../attention/cache/cache.js';
import type { KvDtype } from '../../../attention/cache/codec/format.js';
import { bytesOf } from '../../../attention/cache/codec/layout.js';
import { CACHES } from '../../../attention/cache/index.js';
import { plansOf } from '../../../attention/cache/layer-plan.js';
import type { AttentionCall } from '../../../attention/kernel/kernel.js';
import { PLAIN_SCORES } from '../../../attention/scores.js';
import { consecutive, type StreamRows } from '../../../attention/streams.js';
import { causal } from '../../../attention/visibility/causal.js';
import { uniform } from '../../generate/sampler.js';
import { flat, type Tensor, tensor, zerosLike } from '../../tensor/tensor.js';
import type { PassKind } from '../serving.js';
import { type BenchShape, keyDimOf, valueDimOf } from './shapes.js';

/** How a cache keeps the rows that are read. */
export interface BenchStore {
  readonly cache: 'contiguous' | 'paged';
  /** Tokens a page, of paged. */
  readonly pageSize: number;
  readonly dtype: KvDtype;
  /** Of all numbers: an unsigned 32-bit number. */
  readonly seed: number;
}

function cacheOptions({ streams }: BenchShape, { dtype }: Pick<BenchStore, 'dtype'>) {
  return { layers: [{ streams, retention: causal }], precision: 'float32', dtype } as const;
}

/** Bytes of the rows of this many tokens, in the form that a cache keeps them in. */
export function rowBytesOf(shape: BenchShape, tokens: number, store: Pick<BenchStore, 'dtype'>): number {
  return bytesOf(plansOf(cacheOptions(shape, store))[0]!.layout, tokens);
}

/** Rows that are drawn at once. */
const DRAWN = 256;

/**
 * `decode`: one query at position T - 1 over T rows. `prefill`: T queries over T rows, each seeing itself and those before it.
 *
 * A pass stores the rows of its tokens anew before it attends, as in a model. So what a kernel on a device uploads in each pass is what it
 * uploads in a real one: a row in decode, where all others lie there since the first pass, and all rows in prefill.
 */
export class AttentionPass {
  /** Bytes of the rows that a call reads, each counted once, in the form that the cache keeps them in. */
  readonly rowBytes: number;
  /** Additions and multiplications of a call: 2 (K + V) for each query head and key that it sees. */
  readonly operations: number;
  readonly shape: BenchShape;
  private readonly cache: KvCache;
  private readonly positions: Int32Array;
  private readonly rows: StreamRows;
  private readonly q_THK: Tensor;
  private readonly out_THV: Tensor;

  /** @param tokens T */
  constructor(shape: BenchShape, kind: PassKind, tokens: number, store: BenchStore) {
    const { queryHeads } = shape;
    const sizes = { ...store, poolPages: Number.POSITIVE_INFINITY, cacheTokens: tokens };
    const queries = kind === 'decode' ? 1 : tokens;
    const random = uniform(store.seed);
    this.shape = shape;
    this.cache = CACHES[store.cache](cacheOptions(shape, store), sizes).newCache();
    this.positions = consecutive(tokens - queries, queries);
    this.q_THK = drawn([queries, queryHeads, keyDimOf(shape)], random);
    this.out_THV = zerosLike(this.q_THK, [queries, queryHeads, valueDimOf(shape)]);
    this.rows = drawnRows(shape, queries, random);
    for (let next = 0; next < tokens - queries; ) {
      const count = Math.min(DRAWN, tokens - queries - next);
      this.feed(consecutive(next, count), drawnRows(shape, count, random));
      this.cache.commit();
      next += count;
    }
    const pairs = queries * (tokens - (queries - 1) / 2);
    this.rowBytes = rowBytesOf(shape, tokens, store);
    this.operations = 2 * queryHeads * (keyDimOf(shape) + valueDimOf(shape)) * pairs;
  }

  /** Begins a pass, and ends it after `attend`. */
  async within<Result>(attend: (call: AttentionCall) => Promise<Result>): Promise<Result> {
    this.cache.rollback(this.positions[0]!);
    this.feed(this.positions, this.rows);
    try {
      const result = await attend(this.call());
      this.cache.commit();
      return result;
    } catch (error) {
      this.cache.abort(); // other kernels go on
      throw error;
    }
  }

  private feed(positions: Int32Array, rows: StreamRows): void {
    this.cache.begin(positions, Array<number>(positions.length).fill(0));
    this.cache.write(0, rows);
  }

  private call(): AttentionCall {
    const { q_THK, out_THV, positions } = this;
    const { keyStreams, valueStream, scale } = this.shape;
    flat(out_THV).fill(Number.NaN); // what a kernel leaves out is seen
    const rules = { ...PLAIN_SCORES, visibility: causal, sinkLogits_H: null };
    return { q_THK, positions, blocks: this.cache.blocks(0), keyStreams, valueStream, scale, ...rules, out_THV };
  }

  /** Gives the rows back: to devices too, which hold copies of them. */
  release(): void {
    this.cache.release();
  }
}

function drawnRows({ streams }: BenchShape, tokens: number, random: () => number): StreamRows {
  return Object.fromEntries(streams.map(({ name, heads, dim }) => [name, drawn([tokens, heads, dim], random)]));
}

/** Numbers of mean 0 and variance 1, as norms leave them. */
function drawn(shape: readonly [number, number, number], random: () => number): Tensor {
  const numbers = new Float32Array(shape[0] * shape[1] * shape[2]);
  for (let i = 0; i < numbers.length; i++) numbers[i] = Math.sqrt(12) * (random() - 0.5);
  return tensor(numbers, shape);
}
