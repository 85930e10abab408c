/** One attention layer of one forward pass: where the four concerns (strategy, visibility, cache, kernel) meet. */
import type { Rotation } from '../src/math/rope.js';
import { rowsOf, type Tensor, zerosLike } from '../src/tensor/tensor.js';
import type { KvCache } from './cache/cache.js';
import type { AttentionKernel } from './kernel/kernel.js';
import type { AttentionStrategy } from './strategy/strategy.js';
import type { CacheBlock, StreamRows } from './streams.js';
import type { Visibility } from './visibility/visibility.js';

/** One sequence's part in a forward pass: rows [from, to) of the tokens that are computed together. */
export interface SequencePart {
  readonly cache: KvCache;
  readonly from: number;
  readonly to: number;
  /** Absolute positions of these tokens. */
  readonly positions: Int32Array;
}

/** Counts what attention layers really do: stored rows (one a token and layer) that were computed, and found stored. */
export interface RowCounter {
  computed: number;
  reused: number;
}

export interface AttentionLayer {
  readonly index: number;
  readonly strategy: AttentionStrategy;
  readonly visibility: Visibility;
  readonly kernel: AttentionKernel;
}

/** x [T, D] -> [T, D]: projects all tokens together, then lets each sequence's queries meet its own cache. */
export async function attend(
  x_TD: Tensor,
  { index, strategy, visibility, kernel }: AttentionLayer,
  rotation: Rotation | null,
  parts: readonly SequencePart[],
  counter: RowCounter,
): Promise<Tensor> {
  const { q_THK, rows } = strategy.project(x_TD, rotation);
  const out_THV = zerosLike(x_TD, [x_TD.shape[0]!, strategy.queryHeads, valueDim(strategy)]);
  const calls = parts.map(({ cache, from, to, positions }) => {
    cache.write(index, slice(rows, from, to));
    const blocks = cache.blocks(index);
    countInto(counter, blocks, to - from);
    return {
      q_THK: rowsOf(q_THK, from, to),
      positions,
      blocks,
      keyStreams: strategy.keyStreams,
      valueStream: strategy.valueStream,
      scale: strategy.scale,
      visibility,
      out_THV: rowsOf(out_THV, from, to),
    };
  });
  await kernel.attend(calls);
  return strategy.output(out_THV);
}

function valueDim({ streams, valueStream }: AttentionStrategy): number {
  return streams.find(({ name }) => name === valueStream)!.dim;
}

function slice(rows: StreamRows, from: number, to: number): StreamRows {
  return Object.fromEntries(Object.entries(rows).map(([name, all]) => [name, rowsOf(all, from, to)]));
}

function countInto(counter: RowCounter, blocks: readonly CacheBlock[], fresh: number): void {
  const stored = blocks.reduce((sum, { positions }) => sum + positions.length, 0);
  counter.computed += fresh;
  counter.reused += stored - fresh;
}
