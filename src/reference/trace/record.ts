/** Keeps what a run computes, as it goes, so that little of it is in memory at once. */
import type { KvCache } from '../../../attention/cache/cache.js';
import type { Watcher } from '../../../attention/kernel/watched.js';
import type { Model } from '../../model/load.js';
import { type Floats, flat, floatsLike, rowsOf, type Tensor } from '../../tensor/tensor.js';
import { CacheRecorder } from './cache-recorder.js';
import { isKept } from './format.js';
import { SCORES, type TraceSelection, watchedModel } from './plan.js';
import { type GreedyRun, type RunOptions, runGreedy, type Splice } from './run.js';
import type { PlannedTensor, TraceSink } from './sink.js';

/** Which row of the trace a position's values go to; undefined: to none. */
type RowOf = (position: number) => number | undefined;

function rowsBySelection(positions: readonly number[] | undefined): RowOf {
  if (!positions) return (position) => position;
  const rows = new Map(positions.map((position, row) => [position, row]));
  return (position) => rows.get(position);
}

/** Writes what a run computes to a sink, point by point. */
export async function record(
  model: Model,
  inputIds: readonly number[],
  cache: KvCache,
  { splice = untouched, ...options }: RunOptions & { readonly splice?: Splice | undefined },
  selection: TraceSelection,
  planned: readonly PlannedTensor[],
  sink: TraceSink,
): Promise<GreedyRun> {
  const shapes = shapesOf(planned);
  const rowOf = rowsBySelection(selection.positions);
  const last = inputIds.length + Math.max((options.steps ?? 0) - 1, 0) - 1;
  const recorder = selection.capture === 'all' ? new CacheRecorder(model, cache, last, sink) : null;
  const kept = selection.layers ? new Set(selection.layers) : null;
  const watching = watchedModel(model, (layer) => ({
    ...(recorder &&
    isKept(`layers.${layer}.cache`, 'all', kept) &&
    (selection.points?.(`layers.${layer}.cache`) ?? true)
      ? { call: (call) => recorder.see(layer, call) }
      : {}),
    ...scoresWatcher(layer, shapes, rowOf, (point, row, values) => sink.write(point, row, values)),
  }));
  const run = await runGreedy(watching, inputIds, cache, options, (point, value, from) => {
    if (shapes.has(point)) eachRun(value, from, rowOf, (row, rows) => sink.write(point, row, rows));
    return splice(point, value, from);
  });
  recorder?.appendTable();
  return run;
}

const untouched: Splice = (_, value) => value;

type Shapes = ReadonlyMap<string, readonly number[]>;

function shapesOf(planned: readonly PlannedTensor[]): Shapes {
  return new Map(planned.map(({ name, shape }) => [name, shape]));
}

/** Rows that are kept side by side, together. */
function eachRun(value: Tensor, from: number, rowOf: RowOf, act: (row: number, rows: Floats) => void): void {
  const tokens = value.shape[0]!;
  for (let t = 0; t < tokens; ) {
    const row = rowOf(from + t);
    let end = t + 1;
    if (row !== undefined) {
      while (end < tokens && rowOf(from + end) === row + end - t) end++;
      act(row, flat(rowsOf(value, t, end)));
    }
    t = end;
  }
}

/** Makes rows [H, S] of scores and probabilities, each given when the last head of its query is told. */
function scoresWatcher(
  layer: number,
  shapes: Shapes,
  rowOf: RowOf,
  act: (point: string, row: number, values: Floats) => void,
): Watcher {
  const points = SCORES.map((name) => `layers.${layer}.attention.${name}`);
  if (!points.some((point) => shapes.has(point))) return {};
  const rows = new Map<string, Floats>();
  return {
    scores({ position, h, keys, scores, probabilities }) {
      const row = rowOf(position);
      if (row === undefined) return;
      for (const [i, told] of [scores, probabilities].entries()) {
        const point = points[i]!;
        const shape = shapes.get(point);
        if (!shape) continue;
        const [, heads, width] = shape as [number, number, number];
        const values = rows.get(point) ?? floatsLike(told, width * heads);
        rows.set(point, values);
        if (h === 0) values.fill(told === scores ? Number.NEGATIVE_INFINITY : 0);
        for (const [k, key] of keys.entries()) values[h * width + key] = told[k]!;
        if (h === heads - 1) act(point, row, values);
      }
    },
  };
}

/** What noise of one tensor is called. */
export function noiseName(point: string): string {
  return `noise.${point}`;
}

/** The tensors of the noise of others: for each row, the root of the mean of the squares, and the greatest. Whole numbers have none. */
export function plannedNoise(planned: readonly PlannedTensor[]): PlannedTensor[] {
  return planned
    .filter(({ dtype }) => dtype !== 'I32')
    .map(({ name, shape }) => ({ name: noiseName(name), dtype: 'F32', shape: [shape[0]!, 2] }));
}

/**
 * Runs the same tokens in another precision, and writes how far what it computes lies from what was recorded.
 * @param scale what the distance is multiplied by
 */
export async function recordNoise(
  other: Model,
  ids: readonly number[],
  {
    pause,
    progress,
    splice = untouched,
  }: Pick<RunOptions, 'pause' | 'progress'> & { readonly splice?: Splice | undefined },
  selection: TraceSelection,
  planned: readonly PlannedTensor[],
  sink: TraceSink,
  scale: number,
): Promise<void> {
  const shapes = shapesOf(planned.filter(({ dtype }) => dtype !== 'I32'));
  const rowOf = rowsBySelection(selection.positions);
  const compare = (point: string, row: number, values: Floats) => {
    const width = shapes
      .get(point)!
      .slice(1)
      .reduce((product, length) => product * length, 1);
    const recorded = sink.read(point, row, values.length / width);
    for (let from = 0; from < values.length; from += width) {
      const noise = distanceOf(values.subarray(from, from + width), recorded.subarray(from, from + width));
      sink.write(noiseName(point), row + from / width, [noise.rms * scale, noise.max * scale]);
    }
  };
  const watching = watchedModel(other, (layer) => scoresWatcher(layer, shapes, rowOf, compare));
  await runGreedy(watching, ids, other.components.newCache(), { pause, progress }, (point, value, from) => {
    if (shapes.has(point)) eachRun(value, from, rowOf, (row, rows) => compare(point, row, rows));
    return splice(point, value, from);
  });
}

/** How far values lie from others. Equal infinities lie together. */
export function distanceOf(found: Floats, others: Floats): { rms: number; max: number } {
  let [squares, max] = [0, 0];
  for (let i = 0; i < found.length; i++) {
    const difference = Object.is(found[i], others[i]) ? 0 : Math.abs(found[i]! - others[i]!);
    squares += difference ** 2;
    max = Math.max(max, difference);
  }
  return { rms: Math.sqrt(squares / found.length), max };
}
