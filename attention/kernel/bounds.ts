/**
 * How far a kernel may be from the truth, in unit roundoffs u of the largest |value|: what is proved of sums, products and functions that are rounded
 * (Higham, "Accuracy and Stability of Numerical Algorithms", sections 3 and 4.2).
 */
import type { ScoreSize } from './kernel.js';

/** How wrong the functions of a kernel may be, in unit roundoffs of their results. */
export interface FunctionErrors {
  /** An exponential of -x: `at0 + slope x`, besides its last rounding, which `boundBySums` counts. */
  readonly exp: { readonly at0: number; readonly slope: number };
  /** What one score takes beside its products and their sum: scale, softcap and bias. */
  readonly score: number;
}

/** Of JavaScript: the exponential of a difference x that was rounded is off by x. */
export const JAVASCRIPT: FunctionErrors = { exp: { at0: 0, slope: 1 }, score: 8 };

/**
 * Of WGSL (section 15.7.4: additions and products are rounded correctly or fused; a division is off by 2.5 units in the last place, an exponential
 * by 3 + 2 |x|; a unit in the last place is two unit roundoffs), which hold for WebAssembly and JavaScript too. A weight is a product of two exponentials,
 * each of a rounded difference: 2 (2 (3 + 2 x) + x) = 12 + 10 x.
 */
export const WGSL: FunctionErrors = { exp: { at0: 12, slope: 10 }, score: 20 };

/**
 * Scores that are wrong by d change a weighted mean of values in [-1, 1] by at most exp(2 d) - 1, and by 2 in any case.
 * @param terms of the longest chain of additions in the sum of a score's products
 */
export function boundByScores(
  terms: number,
  { score }: FunctionErrors,
  { magnitude }: ScoreSize,
  unit: number,
): number {
  return Math.min(Math.expm1(2 * (terms + score) * magnitude * unit), 2) / unit;
}

/**
 * Of a mean of values, and its weights: both are sums over n keys, made in blocks whose sums are added. A weight exp(-x) is wrong by what the function
 * is; the weighted mean of x is at most 2 + ln n. In both sums an exponential is rounded, and the quotient of the two is.
 */
export function boundBySums(block: number, keys: number, { exp }: FunctionErrors): number {
  const terms = Math.min(block, keys) + 2 * Math.ceil(keys / block);
  return 2 * (terms + exp.at0 + exp.slope * (2 + Math.log(keys))) + 4;
}
