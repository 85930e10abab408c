/** Traces: what a forward pass computes, named, in memory or in a file that any implementation can be held against. */
import { type AttentionLayer, queryRopeFrom } from '../../../attention/layer.js';
import { hashesOf } from '../../checkpoint/folder.js';
import { RequestError, UsageError } from '../../errors.js';
import type { Rope } from '../../math/rope.js';
import { describeRun } from '../../model/describe.js';
import { assemble, type Model } from '../../model/load.js';
import { VERSION } from '../../version.js';
import type { Dump } from '../dump/dump.js';
import { kindOfPoint, layerOfPoint, TRACE_AXES, TRACE_FORMAT } from './format.js';
import { planOf, type TraceSelection } from './plan.js';
import { plannedNoise, record, recordNoise } from './record.js';
import type { GreedyRun, RunOptions, Splice } from './run.js';
import { decoded, FileSink, MemorySink, type PlannedTensor, type TraceSink } from './sink.js';

export interface TraceOptions extends RunOptions, Partial<TraceSelection> {
  /**
   * The same checkpoint in another precision: how far its values lie from those of the trace is stored beside them, as the noise that
   * rounding makes in each row. Comparisons need it.
   */
  readonly noiseOf?: Model | undefined;
  /** Is shown each value of a pass, whose first row is the token at position `from`, once it was recorded, and says with which one the pass goes on. */
  readonly splice?: Splice | undefined;
}

/** Makes a trace in memory. @throws RequestError, UsageError for a request or a selection that does not fit the model */
export async function trace(given: Model, inputIds: readonly number[], options: TraceOptions = {}): Promise<Dump> {
  const model = inNamedForm(given, options);
  const prepared = await prepare(model, inputIds, options);
  const sink = new MemorySink(prepared.planned);
  await fill(model, inputIds, options, prepared, sink);
  const tensors = [...sink.tensors.values()].map(({ planned: { name, dtype, shape }, bytes }) => {
    const read = () => decoded(bytes.slice().buffer, dtype, name, 'the trace');
    return [name, { name, dtype, shape, read }] as const;
  });
  return { path: 'the trace', tensors: new Map(tensors), metadata: prepared.metadata, close: () => {} };
}

/** What was written. */
export interface TraceSummary extends GreedyRun {
  readonly tensors: readonly PlannedTensor[];
}

/** Makes a trace in a safetensors file, a few rows in memory at a time. The file is there whole, or not at all. */
export async function writeTrace(
  path: string,
  given: Model,
  inputIds: readonly number[],
  options: TraceOptions = {},
): Promise<TraceSummary> {
  const model = inNamedForm(given, options);
  const prepared = await prepare(model, inputIds, options);
  const { planned, metadata } = prepared;
  const sink = new FileSink(path, planned, JSON.stringify(metadata).length + 1024 * (2 + model.config.layers.length));
  try {
    const run = await fill(model, inputIds, options, prepared, sink);
    sink.finish(metadata);
    return { ...run, tensors: planned };
  } catch (error) {
    sink.abandon();
    throw error;
  }
}

/** Latent attention, unless a form was chosen, in the one whose queries, keys and values are what the paper calls so. */
export function inNamedForm(model: Model, { capture = 'layers' }: TraceOptions): Model {
  const { config, weights, options, files } = model;
  const latent = config.layers.some(({ attention }) => attention.kind === 'latent');
  if (!latent || capture === 'logits' || options.attention !== 'auto') return model;
  return assemble(config, weights, { ...options, attention: 'mla-naive' }, files);
}

interface Prepared {
  readonly selection: TraceSelection;
  /** Tensors of rows, and all. */
  readonly points: readonly PlannedTensor[];
  readonly planned: readonly PlannedTensor[];
  /** Of the rows. */
  readonly positions: readonly number[];
  readonly metadata: Readonly<Record<string, string>>;
}

async function prepare(model: Model, inputIds: readonly number[], options: TraceOptions): Promise<Prepared> {
  const { steps = 0, noiseOf, capture = 'layers', layers, positions: chosen, points: pointsKept } = options;
  const tokens = inputIds.length + Math.max(steps - 1, 0);
  expectChosen(layers, model.config.layers.length, 'layers', 'model');
  expectChosen(chosen, tokens, 'positions', 'run');
  if (inputIds.length === 0) throw new RequestError('A trace needs at least one token.');
  const positions = chosen ?? Array.from({ length: tokens }, (_, position) => position);
  const selection: TraceSelection = { capture, layers, positions: chosen, points: pointsKept };
  const points = await planOf(model, inputIds[0]!, { rows: positions.length, tokens }, selection);
  const own: PlannedTensor[] = [
    { name: 'input_ids', dtype: 'I64', shape: [inputIds.length] },
    { name: 'generated_ids', dtype: 'I64', shape: [steps] },
    { name: 'margins', dtype: model.options.precision === 'float64' ? 'F64' : 'F32', shape: [steps] },
    { name: 'positions', dtype: 'I64', shape: [positions.length] },
  ];
  const planned = [...own, ...points, ...(noiseOf ? plannedNoise(points) : [])];
  return { selection, points, planned, positions, metadata: metadataOf(model, selection, points, noiseOf) };
}

function metadataOf(
  model: Model,
  { capture }: TraceSelection,
  points: readonly PlannedTensor[],
  noiseOf: Model | undefined,
): Record<string, string> {
  const layers = [...new Set(points.map(({ name }) => layerOfPoint(name)).filter((layer) => layer !== null))];
  const kinds = [...new Set(points.map(({ name }) => kindOfPoint(name)))];
  return {
    format: TRACE_FORMAT,
    touchstone: VERSION,
    family: model.config.family,
    options: JSON.stringify(describeRun(model)),
    sha256: JSON.stringify(hashesOf(model.files)),
    capture,
    rope: JSON.stringify(model.components.layers.map((layer, i) => ropeOf(model, layer, i))),
    layers: JSON.stringify(layers),
    axes: JSON.stringify(Object.fromEntries(kinds.map((kind) => [kind, TRACE_AXES[kind]]))),
    ...(noiseOf ? { noise: noiseOf.options.precision } : {}),
  };
}

/** What rope turns of the values of a head. */
export interface TurnedValues {
  readonly from: number;
  readonly size: number;
  readonly pairs: Rope['pairs'];
}

function ropeOf({ config }: Model, { strategy }: AttentionLayer, layer: number): TurnedValues | null {
  const { rope } = config.layers[layer]!.attention;
  if (!rope) return null;
  return { from: queryRopeFrom(strategy), size: rope.dim, pairs: rope.pairs };
}

async function fill(
  model: Model,
  inputIds: readonly number[],
  options: TraceOptions,
  { selection, points, positions }: Prepared,
  sink: TraceSink,
): Promise<GreedyRun> {
  const { noiseOf, pause, progress, splice } = options;
  const kept = { selection, planned: points, sink };
  const run = await record({ model, ids: inputIds, options, ...kept });
  const { generatedIds, margins } = run;
  const whole = { input_ids: inputIds, generated_ids: generatedIds, margins, positions };
  for (const [name, values] of Object.entries(whole)) sink.write(name, 0, values);
  if (noiseOf) {
    await inNoise(noiseOf, () =>
      recordNoise({
        model: inNamedForm(noiseOf, options),
        ids: [...inputIds, ...generatedIds.slice(0, -1)],
        options: { pause, progress, splice },
        scale: noiseScale(model, noiseOf),
        ...kept,
      }),
    );
  }
  return run;
}

/** What cannot be run in the other precision is said to be that. */
async function inNoise({ options: { precision } }: Model, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    throw new RequestError(
      `In ${precision}, which tells the noise: ${error.message} Say what they compute in (--dtype, dtype) if it is not that.`,
    );
  }
}

/** Noise of float64 is not had from a wider precision: it is float32's, smaller by as much as its unit roundoff is. */
export const FLOAT64_NOISE = 2 ** -29;

function noiseScale({ options }: Model, { options: other }: Model): number {
  return options.precision === 'float64' && other.precision === 'float32' ? FLOAT64_NOISE : 1;
}

function expectChosen(chosen: readonly number[] | undefined, count: number, what: string, whose: string): void {
  const flag = `${what} (--${what})`;
  const wrong = chosen?.find((n) => !Number.isInteger(n) || n < 0 || n >= count);
  if (wrong !== undefined) throw new UsageError(`${flag}: the ${whose} has 0 to ${count - 1}, got ${wrong}.`);
  if (chosen?.some((n, i) => i > 0 && n <= chosen[i - 1]!))
    throw new UsageError(`${flag}: expected them in ascending order, each once.`);
  if (chosen?.length === 0) throw new UsageError(`${flag}: none is chosen.`);
}
