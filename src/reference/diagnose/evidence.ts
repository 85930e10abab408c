/** What a diagnosis goes by: their tensors in our layout, and what rounding does to each of their rows. */
import { roundTo16, tableOf } from '../../tensor/dtype.js';
import type { Floats } from '../../tensor/tensor.js';
import { Comparer, type Named } from '../compare/comparer.js';
import type { ComparedDtype } from '../compare/comparison.js';
import { dtypeOfValues } from '../compare/dtype.js';
import { sizeOf, UNIT_ROUNDOFF } from '../compare/floor.js';
import { inFlow } from '../compare/names.js';
import type { Reference } from '../compare/reference.js';
import type { Dump } from '../dump/dump.js';
import { isWholeNumbers } from '../trace/format.js';

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
  /** As they would have saved our values: the same, or rounded to 16 bits. */
  readonly saved: ((value: number) => number) | null;
}

/**
 * How their numbers are taken. `computed`: they compute in a dtype, and rounding goes on from tensor to tensor. `saved`: they compute in float32, and round what they
 * save to 16 bits: our own values, rounded so, are theirs nearly bit for bit.
 */
export type Reading = 'computed' | 'saved';

/** Probabilities and scores are left out: mistakes that make them in another way do not tell them. */
const BESIDE = /\.attention\.(scores|probabilities)$/;

/**
 * In the order of the data's flow.
 * @param reference a run of ours over their tokens, with the noise of the dtype that they compute in
 */
export function evidenceOf(theirs: Dump, reference: Reference, named: readonly Named[], reading: Reading): Evidence[] {
  const comparer = new Comparer(theirs, reference, reference.noiseOf, named);
  return (
    named
      .filter(({ name }) => !BESIDE.test(name) && !isWholeNumbers(name))
      // Weights without their experts come in an order of their own.
      .filter(
        ({ name }) =>
          !name.endsWith('.router.weights') || named.some((own) => own.name === name.replace(/weights$/, 'experts')),
      )
      .flatMap((own) => {
        const { comparison } = comparer.compare(own);
        if (comparison.problem !== null) return [];
        const settled = { ...own, name: comparison.name };
        const { positions, theirs: values, rowShape, ourRows } = comparer.aligned(settled);
        const floors = comparer.floors(reference.tensor(settled.name));
        const dtype = reading === 'saved' ? narrowOf(values) : null;
        const rows = Float64Array.from(ourRows, (row) => floors[row]!.rms);
        return [
          {
            name: settled.name,
            theirName: own.tensor.name,
            positions,
            theirs: values,
            width: rowShape.reduce((product, length) => product * length, 1),
            floorOf: dtype ? savedFloors(rows, values, dtype) : (row: number, noise = 0) => Math.max(rows[row]!, noise),
            saved: dtype && roundingTo(dtype),
          },
        ];
      })
      .sort((a, b) => inFlow(a.name, b.name))
  );
}

type Narrow = Extract<ComparedDtype, 'bfloat16' | 'float16'>;

function narrowOf(values: Floats): Narrow | null {
  const dtype = dtypeOfValues(values);
  return dtype === 'bfloat16' || dtype === 'float16' ? dtype : null;
}

function roundingTo(dtype: Narrow): (value: number) => number {
  const name = dtype === 'bfloat16' ? 'BF16' : 'F16';
  const table = tableOf(name)!;
  return (value) => table[roundTo16(name, Math.fround(value))]!;
}

/**
 * Noise that lies far below a unit in the last place moves a value across the middle of two of them now and then: by a whole unit u, with a
 * probability of about noise / u. So its square is noise x u. A row of few values may have had a single one moved, or two.
 */
function savedFloors(noises: Float64Array, theirs: Floats, dtype: Narrow): Evidence['floorOf'] {
  const width = theirs.length / noises.length;
  const unit = 2 * UNIT_ROUNDOFF[dtype];
  const sizes = Array.from(noises, (_, row) => sizeOf(theirs.subarray(row * width, (row + 1) * width)));
  const few = 2 / (WITHIN * Math.sqrt(width));
  return (row, more = 0) => {
    const [noise, { rms, max }] = [Math.max(noises[row]!, more), sizes[row]!];
    return Math.sqrt(noise ** 2 + noise * unit * rms + (few * unit * max) ** 2);
  };
}

/** The greatest ratio of an error to its floor that is still noise. Their noise is another one than ours, and may be several times as large. */
export const WITHIN = 8;
