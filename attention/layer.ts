/** One attention layer of one forward pass: where the four concerns (strategy, visibility, cache, kernel) meet. */
import { type Rotation, rotateInPlace } from '../src/math/rope.js';
import { roundingOf, storingOf } from '../src/math/sum.js';
import { type Tap, tapWithin, untapped } from '../src/tensor/tap.js';
import { flat, rowsOf, type Tensor, zerosLike } from '../src/tensor/tensor.js';
import type { KvCache } from './cache/cache.js';
import type { AttentionCall, AttentionKernel } from './kernel/kernel.js';
import { Scratch } from './kernel/scratch.js';
import { rotatedBlocks, type SlotRotations, shiftOf, slotsOf } from './slots.js';
import type { AttentionStrategy, TemperatureConfig } from './strategy/strategy.js';
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

/** Counts what attention layers really do. */
export class AttentionCounter {
  /** Stored rows, one a token and layer, that were computed. */
  computed = 0;
  /** Rows that were found stored. */
  reused = 0;
  /** What kernels took beside their inputs and outputs. */
  readonly scratch = new Scratch();
}

export interface AttentionLayer {
  readonly index: number;
  readonly strategy: AttentionStrategy;
  readonly visibility: Visibility;
  readonly kernel: AttentionKernel;
  /** Set where tokens are rotated to their slots in the cache; null: to their absolute positions. */
  readonly slots: SlotRotations | null;
}

/**
 * x [T, D] -> [T, D]: projects all tokens together, then lets each sequence's queries meet its own cache.
 * @param rotation of the tokens' absolute positions; null in layers without rope
 */
export async function attentionLayer(
  x_TD: Tensor,
  layer: AttentionLayer,
  rotation: Rotation | null,
  parts: readonly SequencePart[],
  counter: AttentionCounter,
  tap: Tap = untapped,
): Promise<Tensor> {
  const { index, strategy, kernel } = layer;
  const tapped = tapWithin(tap, 'attention');
  const { q_THK, rows } = projected(x_TD, layer, rotation, parts, tapped);
  const out_THV = zerosLike(x_TD, [x_TD.shape[0]!, strategy.queryHeads, valueDim(strategy)]);
  const calls = parts.flatMap(({ cache, from, to, positions }) => {
    cache.write(index, slice(rows, from, to));
    const runs = runsOf(
      layer,
      { q_THK: rowsOf(q_THK, from, to), out_THV: rowsOf(out_THV, from, to), positions },
      cache,
    );
    countInto(counter, runs.at(-1)!.blocks, to - from);
    return runs.map((run) => callOf(layer, run, counter.scratch));
  });
  await kernel.attend(calls, counter.scratch);
  return strategy.output(tapped('heads', out_THV));
}

/**
 * Queries and rows, rotated unless they are rotated by slot later. Then a norm after rope stands before it, which is the same for those that are
 * let through (src/model/components.ts).
 */
function projected(
  x_TD: Tensor,
  { strategy, slots }: AttentionLayer,
  rotation: Rotation | null,
  parts: readonly SequencePart[],
  tap: Tap,
): { q_THK: Tensor; rows: StreamRows } {
  const { q_THK, rows } = tappedRows(strategy.project(x_TD, tap), tap, '');
  if (rotation && !slots) rotateAllInPlace(q_THK, rows, strategy, rotation);
  const finished = strategy.afterRope?.(q_THK, rows) ?? { q_THK, rows };
  if (strategy.temperature) scaleQueriesInPlace(finished.q_THK, strategy.temperature, parts);
  const changed = (rotation && !slots) || strategy.afterRope || strategy.temperature;
  return changed ? tappedRows(finished, tap, '_rope', strategy) : finished;
}

/** Queries and rows as a tap leaves them: all, or with a strategy those that rope rotates. */
function tappedRows(
  { q_THK, rows }: { q_THK: Tensor; rows: StreamRows },
  tap: Tap,
  suffix: string,
  strategy?: AttentionStrategy,
): { q_THK: Tensor; rows: StreamRows } {
  if (tap === untapped) return { q_THK, rows };
  const left = new Set(strategy?.streams.filter(({ ropeFrom }) => ropeFrom === null).map(({ name }) => name));
  const tappedRow = ([name, x]: [string, Tensor]): [string, Tensor] =>
    left.has(name) ? [name, x] : [name, tap(`${traceNameOf(name)}${suffix}`, x)];
  return { q_THK: tap(`q${suffix}`, q_THK), rows: Object.fromEntries(Object.entries(rows).map(tappedRow)) };
}

/** What a stream is called in a trace: k and v, as everybody does. */
export function traceNameOf(stream: string): string {
  return { keys: 'k', values: 'v' }[stream] ?? stream.replaceAll('-', '_');
}

/** Multiplies each query by the factor of its position. */
function scaleQueriesInPlace(
  q_THK: Tensor,
  { floorScale, attentionScale }: TemperatureConfig,
  parts: readonly SequencePart[],
): void {
  const [q, width] = [flat(q_THK), q_THK.shape[1]! * q_THK.shape[2]!];
  const [round, store] = [roundingOf(q), storingOf(q)];
  for (const { from, positions } of parts) {
    for (const [t, position] of positions.entries()) {
      const factor = round(Math.log1p(Math.floor((position + 1) / floorScale)) * attentionScale + 1);
      for (let i = (from + t) * width; i < (from + t + 1) * width; i++) q[i] = store(q[i]! * factor);
    }
  }
}

/** Queries of one sequence, and where their results go. */
type Part = Pick<AttentionCall, 'q_THK' | 'out_THV' | 'positions'>;

/** Queries that see the same rows. */
interface Run extends Part {
  readonly blocks: readonly CacheBlock[];
  /** How many positions before their windows are forgotten, where rows are rotated by slot. */
  readonly shift: number;
}

/**
 * Cuts queries where they begin to see other rows: nowhere, unless rows are rotated by a slot that depends on the query, or the cache keeps recent
 * rows in another form (`epochOf`).
 */
function runsOf({ index, visibility, slots }: AttentionLayer, part: Part, cache: KvCache): Run[] {
  const queries = [...part.positions];
  const shifts = queries.map((query) => (slots ? shiftOf(visibility, query) : 0));
  const epochs = queries.map((query) => cache.epochOf(query));
  const starts = [...queries.keys()].filter((t) => shifts[t] !== shifts[t - 1] || epochs[t] !== epochs[t - 1]);
  let blocks: readonly CacheBlock[] = [];
  return starts.map((from, i) => {
    const to = starts[i + 1] ?? queries.length;
    if (epochs[from] !== epochs[from - 1]) blocks = cache.blocks(index, queries[to - 1]);
    const [q_THK, out_THV] = [rowsOf(part.q_THK, from, to), rowsOf(part.out_THV, from, to)];
    return { q_THK, out_THV, positions: part.positions.subarray(from, to), blocks, shift: shifts[from]! };
  });
}

function callOf({ strategy, visibility, slots }: AttentionLayer, run: Run, scratch: Scratch): AttentionCall {
  const { keyStreams, valueStream, scale, sinkLogits_H, softcap, alibi, scoreStores } = strategy;
  const { q_THK, out_THV, positions, shift } = run;
  let { blocks } = run;
  if (slots) {
    const view = { sinks: visibility.sinks, shift };
    const rotationOf = (of: Int32Array) => slots.at(of);
    rotateInPlace(q_THK, rotationOf(slotsOf(positions, view.sinks, shift)), queryRopeFrom(strategy));
    blocks = rotatedBlocks(blocks, strategy.streams, view, rotationOf, scratch);
  }
  const scores = { keyStreams, valueStream, scale, softcap, alibi, scoreStores, sinkLogits_H, visibility };
  return { q_THK, positions, blocks, ...scores, out_THV };
}

/** Queries and the streams that carry positions, before they are stored. */
function rotateAllInPlace(q_THK: Tensor, rows: StreamRows, strategy: AttentionStrategy, rotation: Rotation): void {
  rotateInPlace(q_THK, rotation, queryRopeFrom(strategy));
  for (const { name, ropeFrom } of strategy.streams) {
    if (ropeFrom !== null) rotateInPlace(rows[name]!, rotation, ropeFrom);
  }
}

/** Where in a query the values that rope rotates begin: where those of the key do, whose streams stand side by side. */
export function queryRopeFrom({ streams, keyStreams }: AttentionStrategy): number {
  let from = 0;
  for (const name of keyStreams) {
    const { dim, ropeFrom } = streams.find((stream) => stream.name === name)!;
    if (ropeFrom !== null) return from + ropeFrom;
    from += dim;
  }
  return 0;
}

function valueDim({ streams, valueStream }: AttentionStrategy): number {
  return streams.find(({ name }) => name === valueStream)!.dim;
}

function slice(rows: StreamRows, from: number, to: number): StreamRows {
  return Object.fromEntries(Object.entries(rows).map(([name, all]) => [name, rowsOf(all, from, to)]));
}

function countInto(counter: AttentionCounter, blocks: readonly CacheBlock[], fresh: number): void {
  const stored = blocks.reduce((sum, { positions }) => sum + positions.length, 0);
  counter.computed += fresh;
  counter.reused += stored - fresh;
}
