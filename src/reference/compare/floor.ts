/** The noise floor of a tensor: how far rounding alone takes each of its rows. Computed, never guessed. */
import type { Floats } from '../../tensor/tensor.js';
import type { ComparedDtype } from './comparison.js';

/** The largest relative error of one rounding to the nearest number. */
export const UNIT_ROUNDOFF = {
  float64: 2 ** -53,
  float32: 2 ** -24,
  bfloat16: 2 ** -8,
  float16: 2 ** -11,
} as const satisfies Record<ComparedDtype, number>;

/** Of one row: the root of the mean of the squares, and the greatest. */
export interface Size {
  readonly rms: number;
  readonly max: number;
}

/**
 * The floor of each row: the greatest of what rounding did to this row, of what it did to three rows of four at most in proportion to
 * their size (a row of few values may have been lucky), and of one rounding of its values as they are.
 * @param noise [R, 2] rms and greatest distance of each row from the same in another precision @param rows what the rows hold
 */
export function floorsOf(noise: Floats, rows: readonly Size[], dtype: ComparedDtype): Size[] {
  const unit = UNIT_ROUNDOFF[dtype];
  // A run that overflowed tells no noise.
  const finite = (value: number) => (Number.isFinite(value) ? value : 0);
  const own = rows.map((_, r): Size => ({ rms: finite(noise[2 * r]!), max: finite(noise[2 * r + 1]!) }));
  const relative = (of: keyof Size) =>
    upperQuartile(own.flatMap((size, r) => (rows[r]![of] > 0 ? [size[of] / rows[r]![of]] : [])));
  const usual: Size = { rms: relative('rms'), max: relative('max') };
  const floor = (of: keyof Size, r: number) => Math.max(own[r]![of], usual[of] * rows[r]![of], unit * rows[r]![of]);
  return rows.map((_, r) => ({ rms: floor('rms', r), max: floor('max', r) }));
}

function upperQuartile(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.75)] ?? 0;
}

/** Of values, infinities left out. */
export function sizeOf(values: Floats): Size {
  let [squares, max, count] = [0, 0, 0];
  for (const value of values) {
    if (Math.abs(value) === Number.POSITIVE_INFINITY) continue;
    squares += value ** 2;
    max = Math.max(max, Math.abs(value));
    count++;
  }
  return { rms: count === 0 ? 0 : Math.sqrt(squares / count), max };
}
