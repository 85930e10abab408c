/** From a ratio of difference to noise to a verdict. */
import type { Verdict } from './comparison.js';

/**
 * What another order of the same roundings makes of a tensor lies within a few times of what ours does: `npm run report:compare` prints by how much
 * for PyTorch. Ours sums in blocks and compensates norms, so a plain sum of thousands of values may lie several times further away.
 */
export const WITHIN_NOISE = 8;

/** Beyond this no order of roundings reaches: a bound between what fast mathematics does and the smallest mistakes that ports have. */
const DIFFERENT = 64;

/** @param ratio of the difference to the noise floor; NaN is different */
export function verdictOf(ratio: number): Verdict {
  if (ratio === 0) return 'identical';
  if (ratio <= WITHIN_NOISE) return 'within noise';
  return ratio <= DIFFERENT ? 'suspicious' : 'different';
}
