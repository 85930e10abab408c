/** Keeps what a run computes, as it goes, so that little of it is in memory at once. */
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

/** What is run, and what of it goes where. */
interface Recording<Options> {
  readonly model: Model;
  /** [P] tokens to feed. */
  readonly ids: readonly number[];
  readonly options: Options & { readonly splice?: Splice | undefined };
  readonly selection: TraceSelection;
  /** Of the points alone, each [R, ...]: a row for each position that is kept. */
  readonly planned: readonly PlannedTensor[];
  readonly sink: TraceSink;
}

/**
 * Writes what a run computes to a sink, point by point: each planned tensor [R, ...] in order of its rows, and with `all` the caches whole.
 * @throws RequestError if the request does not fit the model, or logits are NaN
 */
export async function record(recording: Recording<RunOptions>): Promise<GreedyRun> {
  const { model, ids, selection, sink } = recording;
  const { splice = untouched, ...options } = recording.options;
  const shapes = shapesOf(recording.planned);
  const rowOf = rowsBySelection(selection.positions);
  const last = ids.length + Math.max((options.steps ?? 0) - 1, 0) - 1;
  const cache = model.components.newCache();
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
  const run = await runGreedy(watching, ids, cache, options, (point, value, from) => {
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

/**
 * Rows that are kept side by side, together.
 * @param value [T, ...], the first row of the token at position `from`
 * @param act is given the trace's row of the first, and n rows of values [n, ...]
 */
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

/**
 * Makes rows [H, S] of scores and probabilities, each given when the last head of its query is told.
 * @param shapes of the planned tensors, [R, H, S]; a kernel tells [keys] values of one head at a time
 */
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

/** The tensors of the noise of others, [R, 2]: for each row, the root of the mean of the squares, and the greatest. Whole numbers have none. */
export function plannedNoise(planned: readonly PlannedTensor[]): PlannedTensor[] {
  return planned
    .filter(({ dtype }) => dtype !== 'I32')
    .map(({ name, shape }) => ({ name: noiseName(name), dtype: 'F32', shape: [shape[0]!, 2] }));
}

/** A run in another precision than that of what was recorded. */
interface NoiseRecording extends Recording<Pick<RunOptions, 'pause' | 'progress'>> {
  /** [T] all tokens that were fed: the prompt, and what was generated but the last. */
  readonly ids: readonly number[];
  /** What distances are multiplied by. */
  readonly scale: number;
}

/**
 * Runs the same tokens in another precision, and writes how far what it computes lies from what was recorded, [R, 2] for each tensor of floats.
 * @throws RequestError if the request does not fit the model, or logits are NaN
 */
export async function recordNoise(recording: NoiseRecording): Promise<void> {
  const { model, ids, selection, sink, scale } = recording;
  const { pause, progress, splice = untouched } = recording.options;
  const shapes = shapesOf(recording.planned.filter(({ dtype }) => dtype !== 'I32'));
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
  const watching = watchedModel(model, (layer) => scoresWatcher(layer, shapes, rowOf, compare));
  await runGreedy(watching, ids, model.components.newCache(), { pause, progress }, (point, value, from) => {
    if (shapes.has(point)) eachRun(value, from, rowOf, (row, rows) => compare(point, row, rows));
    return splice(point, value, from);
  });
}

/** How far values lie from as many others, whatever their shape. Equal infinities lie together. */
export function distanceOf(found: Floats, others: Floats): { rms: number; max: number } {
  let [squares, max] = [0, 0];
  for (let i = 0; i < found.length; i++) {
    const difference = Object.is(found[i], others[i]) ? 0 : Math.abs(found[i]! - others[i]!);
    squares += difference ** 2;
    max = Math.max(max, difference);
  }
  return { rms: Math.sqrt(squares / found.length), max };
}
