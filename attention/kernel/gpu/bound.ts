import type { ScoreSize } from '../kernel.js';
import { CHUNK } from './source.js';

/** 2^-24 */
const UNIT = 2 ** -24;

/**
 * How far the result of a gpu.js kernel may lie from the reference's, in unit roundoffs of the largest value. Of both, for n keys of K values:
 *
 * - A score is a sum of K products, scaled, capped and biased: wrong by (K + 16) unit roundoffs of what it is made of (WGSL: additions and products are
 *   rounded correctly, perhaps fused; a division is wrong by 5, an exponential by 6 + 4 |x|). Scores that are wrong by d change a weighted mean of
 *   values in [-1, 1] by at most exp(2 d) - 1, and by 2 in any case.
 * - A weight is a product of two exponentials of differences: wrong by 2 (6 + 5 |x|), of which the weighted mean is at most 2 + ln n for |x|.
 * - A sum over keys is made in chunks, whose sums are added, in the values' sum and in that of the weights (Higham, section 4.2).
 */
export function boundOf(keys: number, { keyDim, magnitude }: ScoreSize): number {
  const scores = 2 * (keyDim + 16) * magnitude * UNIT;
  const byScores = Math.min(Math.expm1(2 * scores), 2) / UNIT;
  const weights = 2 * (6 + 5 * (2 + Math.log(keys)));
  const sums = Math.min(CHUNK, keys) + Math.ceil(keys / CHUNK) + 4;
  return Math.ceil(byScores + 2 * 2 * (weights + sums));
}
