/** What a diagnosis goes by: their tensors in our layout, and what rounding does to each of their rows. */
import { roundTo16, tableOf } from '../../tensor/dtype.js';
import type { Floats } from '../../tensor/tensor.js';
import { type Aligned, sizeOfShape } from '../compare/align.js';
import { Comparer, type Named } from '../compare/comparer.js';
import type { ComparedDtype } from '../compare/comparison.js';
import { dtypeOfValues } from '../compare/dtype.js';
import { sizeOf, UNIT_ROUNDOFF } from '../compare/floor.js';
import { inFlow } from '../compare/names.js';
import type { Reference } from '../compare/reference.js';
import type { Dump } from '../dump/dump.js';
import { isScores, isWholeNumbers, kindOfPoint } from '../trace/format.js';

/** One tensor of theirs. */
export interface Evidence {
  /** As a trace calls it. */
  readonly name: string;
  readonly theirName: string;
  /** The rows that they have, by position, ascending. */
  readonly positions: readonly number[];
  /** [positions, width] */
  readonly theirs: Floats;
  readonly width: number;
  /** What rounding does to a row of this number: root mean square of a value. @param noise what it does before they save it, where that is more than we know of */
  readonly floorOf: (row: number, noise?: number) => number;
  /** Our values as they would have saved them: the same, or rounded to 16 bits. */
  readonly saved: (ours: Floats) => Floats;
}

/**
 * How their numbers are taken. `computed`: they compute in a dtype, and rounding goes on from tensor to tensor. `saved`: they compute in float32, and round what they
 * save to 16 bits: our own values, rounded so, are theirs nearly bit for bit.
 */
export type Reading = 'computed' | 'saved';

/**
 * In the order of the data's flow.
 * @param reference a run of ours over their tokens, with the noise of the dtype that they compute in
 */
export function evidenceOf(theirs: Dump, reference: Reference, named: readonly Named[], reading: Reading): Evidence[] {
  const comparer = new Comparer(theirs, reference, reference.noiseOf, named);
  // The lowest layer is the nearest to what is right, so the layout that it has is that of all.
  const layouts = new Map<string, Aligned['layout']>();
  return named
    .filter(({ name }) => tells(name, named))
    .map((own) => (own.alternatives.length > 0 ? { ...own, name: comparer.compare(own).comparison.name } : own))
    .sort((a, b) => inFlow(a.name, b.name))
    .flatMap((own) => {
      const kind = kindOfPoint(own.name);
      const aligned = comparer.alignedIfAny(own, layouts.get(kind));
      if (typeof aligned === 'string' || isOfOtherChoices(own, aligned)) return [];
      if (!layouts.has(kind)) layouts.set(kind, aligned.layout);
      const floors = comparer.floors(reference.tensor(own.name));
      const rows = Float64Array.from(aligned.ourRows, (row) => floors[row]!.rms);
      return [evidenceFrom(own, aligned, rows, reading)];
    });
}

/** Weights of more experts a token, or of fewer, may fit other rows of ours. */
function isOfOtherChoices({ name, tensor }: Named, { rowShape }: Aligned): boolean {
  return name.endsWith('.router.weights') && tensor.shape.at(-1) !== rowShape.at(-1);
}

/** Whether a tensor can be gone by. Mistakes that make scores in another way do not tell them. Weights of experts without their experts come in an order of their own. */
function tells(name: string, named: readonly Named[]): boolean {
  if (isScores(name) || isWholeNumbers(name)) return false;
  const experts = name.replace(/weights$/, 'experts');
  return !name.endsWith('.router.weights') || named.some((own) => own.name === experts);
}

/** @param given floors of its rows, for values as large as ours */
function evidenceFrom(
  { name, tensor }: Named,
  { positions, theirs, ours, rowShape }: Aligned,
  given: Float64Array,
  reading: Reading,
): Evidence {
  const width = sizeOfShape(rowShape);
  // What is larger than ours is rounded by as much more.
  const floors = given.map((floor, row) => {
    const [own, other] = [theirs, ours].map((values) => sizeOf(values.subarray(row * width, (row + 1) * width)).rms);
    return own! > other! && Number.isFinite(own! / other!) ? (floor * own!) / other! : floor;
  });
  const own = { name, theirName: tensor.name, positions, theirs, width };
  const dtype = reading === 'saved' ? narrowOf(theirs) : null;
  if (dtype) return { ...own, floorOf: savedFloors(floors, theirs, dtype), saved: (ours) => roundedTo(dtype, ours) };
  return { ...own, floorOf: (row, noise = 0) => Math.max(floors[row]!, noise), saved: (ours) => ours };
}

type Narrow = Extract<ComparedDtype, 'bfloat16' | 'float16'>;

function narrowOf(values: Floats): Narrow | null {
  const dtype = dtypeOfValues(values);
  return dtype === 'bfloat16' || dtype === 'float16' ? dtype : null;
}

const ROUNDED = { bfloat16: new WeakMap<Floats, Floats>(), float16: new WeakMap<Floats, Floats>() };

/** Each array once: what a hypothesis computes is scored several times. */
function roundedTo(dtype: Narrow, values: Floats): Floats {
  const known = ROUNDED[dtype].get(values);
  if (known) return known;
  const name = dtype === 'bfloat16' ? 'BF16' : 'F16';
  const table = tableOf(name)!;
  const rounded = Float32Array.from(values, (value) => table[roundTo16(name, Math.fround(value))]!);
  ROUNDED[dtype].set(values, rounded);
  return rounded;
}

/**
 * Noise that lies far below a unit in the last place moves a value across the middle of two of them now and then: by a whole unit u, with a
 * probability of about noise / u. So its square is noise x u, and where the noise is WITHIN times as large, so is that square, of which a floor is the root. A row
 * of few values may have had a single one moved, or two.
 */
function savedFloors(noises: Float64Array, theirs: Floats, dtype: Narrow): Evidence['floorOf'] {
  const width = theirs.length / noises.length;
  const unit = 2 * UNIT_ROUNDOFF[dtype];
  const sizes = Array.from(noises, (_, row) => sizeOf(theirs.subarray(row * width, (row + 1) * width)));
  const few = 2 / (WITHIN * Math.sqrt(width));
  return (row, more = 0) => {
    const [noise, { rms, max }] = [Math.max(noises[row]!, more), sizes[row]!];
    return Math.sqrt(noise ** 2 + (noise * unit * rms) / WITHIN + (few * unit * max) ** 2);
  };
}

/** The greatest ratio of an error to its floor that is still noise. Their noise is another one than ours, and may be several times as large. */
export const WITHIN = 8;
