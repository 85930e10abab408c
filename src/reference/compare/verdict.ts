/** From a ratio of difference to noise to a verdict. */
import type { ComparedDtype, Verdict } from './comparison.js';

interface Limits {
  /** The greatest ratio that is noise. */
  readonly within: number;
  /** Beyond this one it is no accident. */
  readonly different: number;
  /** A margin of so many times the noise of two logits is a near tie. */
  readonly tie: number;
}

/**
 * In float32 our noise is a low one (sums in blocks, compensated norms), and another order of the same roundings may make several times as much:
 * `npm run report:compare` prints how much PyTorch does. Suspicious is what fast mathematics, tables for activations or narrow accumulators do. In 16 bits
 * noise comes from rounding what is stored, which all orders of sums share: a right port lies at about once the noise, and the noise is so wide
 * that a factor of ten would hide mistakes.
 */
const LIMITS = {
  float64: { within: 8, different: 64, tie: 8 },
  float32: { within: 8, different: 64, tie: 8 },
  bfloat16: { within: 4, different: 16, tie: 1 },
  float16: { within: 4, different: 16, tie: 1 },
} as const satisfies Record<ComparedDtype, Limits>;

/** Where noise is nearly as large as what it is the noise of, twice the noise says enough if half of what should be there is not. */
const HOLLOW = { ratio: 2, relative: 0.5 };

/**
 * @param ratio of the difference to the noise floor; NaN is different
 * @param relative of the difference to what ours holds, as root mean squares
 */
export function verdictOf(ratio: number, dtype: ComparedDtype, relative = 0): Verdict {
  const { within, different } = LIMITS[dtype];
  if (ratio === 0) return 'identical';
  if (ratio > HOLLOW.ratio && relative > HOLLOW.relative) return 'different';
  if (ratio <= within) return 'within noise';
  return ratio <= different ? 'suspicious' : 'different';
}

/** The margin below which two tokens tie. @param noise the greatest of a logit */
export function tieOf(noise: number, dtype: ComparedDtype): number {
  return 2 * LIMITS[dtype].tie * noise; // both logits may be off
}
