/** How well what we compute reproduces what they have. */
import type { Floats } from '../../tensor/tensor.js';
import type { Computed } from '../mutants/run.js';
import { type Evidence, WITHIN } from './evidence.js';

export interface Score {
  /** The largest ratio of a tensor's error to its noise, as root mean squares; Infinity where one side alone is NaN. */
  readonly ratio: number;
  /** Root of the mean over tensors of their squared relative errors. */
  readonly relative: number;
  /** Where the two part first: which tensor, and which of its rows; null: nowhere. */
  readonly parts: Place | null;
}

interface Place {
  readonly tensor: number;
  readonly position: number;
}

/**
 * @param computed ours, of their tokens; a tensor that it lacks, or has in another width, is as far from theirs as can be
 * @param noise of what is computed, where it is more than the evidence's own
 * @param toFirst no further than to the first tensor that parts: enough to tell which of several goes with theirs for longest
 */
export function scoreOf(
  evidence: readonly Evidence[],
  computed: Computed,
  noise: Noise = NONE,
  toFirst = false,
): Score {
  let [ratio, squares, count] = [0, 0, 0];
  let parts: Place | null = null;
  for (const [tensor, own] of evidence.entries()) {
    const ours = computed.points.get(own.name);
    const found =
      ours?.width === own.width
        ? tensorScore(own, ours.values, computed.firstRow, noise.get(own.name) ?? null)
        : otherThing(own);
    ratio = Math.max(ratio, found.ratio);
    squares += Math.min(found.relative, LOST) ** 2;
    count++;
    if (found.parts !== null && parts === null) parts = { tensor, position: found.parts };
    if (toFirst && parts !== null) break;
  }
  return { ratio, relative: Math.sqrt(squares / Math.max(count, 1)), parts };
}

/** What rounding does to a mutant's own rows [T], by point. */
export type Noise = ReadonlyMap<string, Float64Array>;

const NONE: Noise = new Map();

/** A relative error beyond which it does not matter how large it is. */
const LOST = 100;

function tensorScore(
  { positions, theirs, width, floorOf, saved }: Evidence,
  ours: Floats,
  firstRow: number,
  noise: Float64Array | null,
): { readonly ratio: number; readonly relative: number; readonly parts: number | null } {
  const own = saved(ours);
  let [errors, sizes, noises] = [0, 0, 0];
  let parts: number | null = null;
  for (const [row, position] of positions.entries()) {
    if (position < firstRow) continue;
    const [error, size] = rowError(theirs, row * width, own, position * width, width);
    const floor = floorOf(row, noise?.[position]) ** 2 * width;
    errors += error;
    sizes += size;
    noises += floor;
    if (parts === null && !(error <= WITHIN ** 2 * floor) && error !== 0) parts = position;
  }
  const ratio = errors === 0 ? 0 : Math.sqrt(errors / noises);
  return {
    ratio: Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio,
    relative: errors === 0 ? 0 : finite(Math.sqrt(errors / sizes)),
    parts,
  };
}

function otherThing({ positions }: Evidence) {
  return { ratio: Number.POSITIVE_INFINITY, relative: LOST, parts: positions[0] ?? 0 };
}

function finite(relative: number): number {
  return Number.isFinite(relative) ? relative : LOST;
}

/** Sums of squares of differences, and of theirs. NaN on both sides is no difference; on one side it is an infinite one. */
function rowError(
  theirs: Floats,
  from: number,
  ours: Floats,
  ourFrom: number,
  width: number,
): [error: number, size: number] {
  let [error, size] = [0, 0];
  for (let i = 0; i < width; i++) {
    const a = theirs[from + i]!;
    const b = ours[ourFrom + i]!;
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) {
      if (Number.isFinite(a)) size += a ** 2;
      continue;
    }
    const difference = a - b;
    if (!Number.isFinite(difference)) return [Number.POSITIVE_INFINITY, size];
    error += difference ** 2;
    size += a ** 2;
  }
  return [error, size];
}

/** Whether every row is within noise: one that is not may be all that a mistake has changed. */
export function isExplained({ ratio, parts }: Score): boolean {
  return parts === null && ratio <= WITHIN;
}

/** Whether one parts from theirs later than another. */
export function isLater(a: Score, b: Score): boolean {
  if (b.parts === null) return false;
  if (a.parts === null) return true;
  if (a.parts.tensor !== b.parts.tensor) return a.parts.tensor > b.parts.tensor;
  return a.parts.position > b.parts.position;
}
