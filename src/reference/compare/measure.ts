/** How far two arrays lie apart, by several measures, and row by row against the noise. */

import type { Floats } from '../../tensor/tensor.js';
import { divergenceOf } from '../divergence.js';
import { type ComparedDtype, type Measures, type Place, type RowComparison, worstOf } from './comparison.js';
import { type Size, sizeOf, UNIT_ROUNDOFF } from './floor.js';
import { verdictOf } from './verdict.js';

/** Rows of theirs and of ours, in the same order and layout. */
export interface Pair {
  /** [R] */
  readonly positions: readonly number[];
  readonly theirs: Floats;
  readonly ours: Floats;
  /** The axes after R. */
  readonly rowShape: readonly number[];
  /** [R] */
  readonly floors: readonly Size[];
}

export interface Measured {
  readonly measures: Measures;
  readonly rows: readonly RowComparison[];
  readonly worst: Place | null;
}

/** A score of a key that is not seen: minus infinity, or the large number that many codes add in its place. */
const HIDDEN = -1e4;

/** Differences are made in float64. @param isLogits whether rows are logits, which have a divergence */
export function measure(pair: Pair, dtype: ComparedDtype, isLogits: boolean): Measured {
  const { theirs, ours, positions, floors } = pair;
  const width = widthOf(pair);
  const total = new Totals(dtype);
  const rows = positions.map((position, r): RowComparison & { readonly worstAt: number } => {
    let [squares, max, worstAt] = [0, 0, -1];
    for (let i = r * width; i < (r + 1) * width; i++) {
      const difference = differenceOf(theirs[i]!, ours[i]!);
      total.add(difference, theirs[i]!, ours[i]!);
      squares += difference ** 2;
      if (difference > max || Number.isNaN(difference)) [max, worstAt] = [difference, i];
      if (Number.isNaN(difference)) break;
    }
    const floor = floors[r]!;
    const rms = Math.sqrt(squares / width);
    const ratio = Math.max(over(rms, floor.rms), over(max, floor.max));
    const own = sizeOf(ours.subarray(r * width, (r + 1) * width));
    return { position, ratio, verdict: verdictOf(ratio, dtype, rms / own.rms), worstAt };
  });
  const ratio = rows.reduce((greatest, row) => greaterOf(greatest, row.ratio), 0);
  const worst = worstOf(rows.map((row) => row.verdict));
  const parting = rows.find((row) => row.verdict === worst && row.worstAt >= 0);
  const noise = { rms: rootOfMean(floors.map(({ rms }) => rms)), max: Math.max(...floors.map(({ max }) => max)) };
  return {
    measures: { ...total.measures(), noise, ratio, kl: isLogits && !Number.isNaN(ratio) ? klOf(pair, width) : null },
    rows: rows.map(({ position, ratio: own, verdict }) => ({ position, ratio: own, verdict })),
    worst: parting ? placeOf(pair, parting.worstAt, width) : null,
  };
}

/** NaN where theirs is; 0 where both say that a key is not seen, or both are NaN. */
function differenceOf(theirs: number, ours: number): number {
  if (theirs === ours) return 0;
  if (ours === Number.NEGATIVE_INFINITY && theirs <= HIDDEN) return 0;
  if (Number.isNaN(theirs) && Number.isNaN(ours)) return 0;
  return Math.abs(theirs - ours);
}

/** Nothing over nothing is nothing; NaN stays. */
function over(difference: number, floor: number): number {
  return difference === 0 ? 0 : difference / floor;
}

/** NaN is greater than all. */
function greaterOf(a: number, b: number): number {
  return Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : Math.max(a, b);
}

function widthOf({ rowShape }: Pair): number {
  return rowShape.reduce((product, length) => product * length, 1);
}

function rootOfMean(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / Math.max(values.length, 1));
}

function placeOf({ theirs, ours, positions, rowShape, floors }: Pair, at: number, width: number): Place {
  const row = Math.floor(at / width);
  let rest = at % width;
  const index = rowShape.map((_, axis) => {
    const inner = rowShape.slice(axis + 1).reduce((product, length) => product * length, 1);
    const own = Math.floor(rest / inner);
    rest %= inner;
    return own;
  });
  const head = rowShape.length > 1 ? index[0]! : null;
  return { position: positions[row]!, head, index, theirs: theirs[at]!, ours: ours[at]!, noise: floors[row]!.max };
}

function klOf({ theirs, ours }: Pair, width: number): Measures['kl'] {
  const { meanKl, maxKl, top1 } = divergenceOf(theirs, ours, width);
  return { mean: meanKl, max: maxKl, top1 };
}

/** Sums over all values. */
class Totals {
  private readonly unit: number;
  private readonly least: number;
  private count = 0;
  private squares = 0;
  private maxAbs = 0;
  private maxRel = 0;
  private maxUlp = 0;
  private product = 0;
  private theirs = 0;
  private ours = 0;

  constructor(dtype: ComparedDtype) {
    this.unit = 2 * UNIT_ROUNDOFF[dtype];
    this.least = LEAST_NORMAL[dtype];
  }

  add(difference: number, theirs: number, ours: number): void {
    this.count++;
    this.squares += difference ** 2;
    this.maxAbs = greaterOf(this.maxAbs, difference);
    if (difference !== 0) {
      const size = Math.abs(ours);
      this.maxRel = greaterOf(this.maxRel, difference / size);
      const ulp = this.unit * 2 ** Math.floor(Math.log2(Math.max(size, this.least)));
      this.maxUlp = greaterOf(this.maxUlp, difference / ulp);
    }
    if (!Number.isFinite(ours)) return;
    this.product += theirs * ours;
    this.theirs += theirs ** 2;
    this.ours += ours ** 2;
  }

  measures(): Omit<Measures, 'noise' | 'ratio' | 'kl'> {
    const { maxAbs, maxRel, maxUlp } = this;
    const rms = Math.sqrt(this.squares / Math.max(this.count, 1));
    return { maxAbs, maxRel, maxUlp, rms, cosine: this.product / Math.sqrt(this.theirs * this.ours) };
  }
}

/** Below it numbers lie equally far apart. */
const LEAST_NORMAL = {
  float64: 2 ** -1022,
  float32: 2 ** -126,
  bfloat16: 2 ** -126,
  float16: 2 ** -14,
} as const satisfies Record<ComparedDtype, number>;
