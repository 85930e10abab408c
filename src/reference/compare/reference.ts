/** What a dump is held against: a trace with its noise, open. */
import { CheckpointError, UsageError } from '../../errors.js';
import type { Chosen } from '../../model/components.js';
import type { Floats } from '../../tensor/tensor.js';
import type { Dump, DumpTensor } from '../dump/dump.js';
import { openDump } from '../dump/open.js';
import { layerOfPoint, readTraceMetadata, TRACE_FORMAT, type TraceMetadata } from '../trace/format.js';
import type { TurnedValues } from '../trace/index.js';
import { distanceOf, noiseName } from '../trace/record.js';
import type { OurTensor } from './align.js';
import type { ComparedDtype } from './comparison.js';
import { UNIT_ROUNDOFF } from './floor.js';
import { isBeside } from './names.js';

export interface Reference {
  /** A file or a model. */
  readonly name: string;
  readonly precision: string;
  /** The strategies that it was run with. */
  readonly attention: string;
  /** The dtype whose rounding the noise is of. */
  readonly noiseOf: ComparedDtype;
  readonly inputIds: readonly number[];
  readonly generatedIds: readonly number[];
  readonly points: ReadonlySet<string>;
  tensor(point: string): Omit<OurTensor, 'end'>;
  /** [R, 2] */
  noise(point: string): Floats;
  close(): void;
}

/** Opens a trace that was made with noise, or one of the project's goldens. @throws CheckpointError, UsageError for a file that is none */
export function openReference(path: string, name = path): Reference {
  return referenceOf(openDump(path), name);
}

/** @param name what it is called in reports */
export function referenceOf(trace: Dump, name: string): Reference {
  const { tensors, metadata } = trace;
  const has = (point: string) => tensors.has(noiseName(point)) || point.endsWith('.router.experts');
  const truth = tensors.get('logits_float64');
  const points = [...tensors.keys()].filter(
    (point) => !isBeside(point) && (has(point) || (point === 'logits' && truth)),
  );
  if (points.length === 0) throw noNoise(name, metadata.format === TRACE_FORMAT || tensors.has('logits'));
  const [inputIds, generatedIds] = [idsOf(trace, 'input_ids', name), idsOf(trace, 'generated_ids', name)];
  const positions = tensors.has('positions') ? [...tensors.get('positions')!.read()] : null;
  const isTrace = metadata.format?.startsWith('touchstone-trace');
  const told: Partial<TraceMetadata> = isTrace ? readTraceMetadata(metadata, name) : {}; // goldens of the fixtures have none
  const { precision = 'float32', attention = '' } = jsonOf<Partial<Chosen>>(told.options) ?? {};
  const ropes = jsonOf<readonly (TurnedValues | null)[]>(told.rope) ?? [];
  return {
    name,
    precision,
    attention,
    noiseOf: noiseDtype(precision as ComparedDtype, told.noise as ComparedDtype | undefined),
    inputIds,
    generatedIds,
    points: new Set(points),
    tensor(point) {
      const { shape, read } = tensors.get(point)!;
      const rows = positions ?? [...Array(shape[0]).keys()];
      return { name: point, shape, values: read(), positions: rows, rope: ropeAt(point, ropes) };
    },
    noise: (point) => tensors.get(noiseName(point))?.read() ?? noiseFrom(tensors.get(point)!, truth),
    close: () => trace.close(),
  };
}

/** Noise is that of the narrower of two runs; float64's is had from float32's. */
function noiseDtype(precision: ComparedDtype, other: ComparedDtype | undefined): ComparedDtype {
  if (precision === 'float64' || other === undefined) return precision;
  return UNIT_ROUNDOFF[other] > UNIT_ROUNDOFF[precision] ? other : precision;
}

/** Of a golden that has the truth beside it. Whole numbers have no noise. */
function noiseFrom({ shape, read }: DumpTensor, truth: DumpTensor | undefined): Floats {
  const noise = new Float64Array(2 * shape[0]!);
  if (!truth) return noise;
  const [values, exact, width] = [read(), truth.read(), shape[1]!];
  for (let r = 0; r < shape[0]!; r++) {
    const { rms, max } = distanceOf(
      values.subarray(r * width, (r + 1) * width),
      exact.subarray(r * width, (r + 1) * width),
    );
    noise.set([rms, max], 2 * r);
  }
  return noise;
}

/** Queries and keys are what rope turns. */
function ropeAt(point: string, ropes: readonly (TurnedValues | null)[]): TurnedValues | null {
  const layer = layerOfPoint(point);
  const rope = (layer !== null && ropes[layer]) || null;
  if (/\.attention\.rope_key(_rope)?$/.test(point)) return rope && { ...rope, from: 0 }; // the turned part of a key alone
  return /\.attention\.[qk](_rope)?$/.test(point) ? rope : null;
}

function jsonOf<Value>(text: string | undefined): Value | null {
  return text === undefined ? null : (JSON.parse(text) as Value);
}

function idsOf({ tensors }: Dump, name: string, file: string): number[] {
  const found = tensors.get(name);
  if (found) return [...found.read()];
  throw new CheckpointError(`${file}: there is no tensor ${name}; expected a file that touchstone golden wrote.`);
}

function noNoise(file: string, isTrace: boolean): Error {
  if (!isTrace)
    return new CheckpointError(`${file}: it is no trace; expected a file that touchstone golden --noise wrote.`);
  return new UsageError(
    `${file}: it does not tell its noise floor, without which nobody can say what is a difference; make it with touchstone golden --noise (in the library: noiseOf), or compare with a model (--model).`,
  );
}
