/** What a score may be besides scale * (q . k). */
import { softcap } from '../src/math/elementwise.js';
import { roundToBfloat16 } from '../src/tensor/dtype.js';

/**
 * Attention with linear biases (Press et al. 2022, "Train Short, Test Long", section 3): a score falls with the distance of its key, for each
 * query head by a slope of its own.
 */
export interface Alibi {
  /** [H] */
  readonly slopes: readonly number[];
  /**
   * `distance`: factor * slope * (key - query). `bfloat16`: factor * slope * key, where the key's position and the product with the slope are
   * bfloat16 numbers, as Falcon was trained: the softmax takes no notice of what all keys share, but rounded so, keys beside each other tie, the more the further they lie from position 0.
   */
  readonly form: 'distance' | 'bfloat16';
  readonly factor: number;
}

/** What makes a score of a scaled product. */
export interface ScoreRules {
  /** cap tanh(score / cap); null: as it is. */
  readonly softcap: number | null;
  readonly alibi: Alibi | null;
}

/** Scores as they are. */
export const PLAIN_SCORES: ScoreRules = { softcap: null, alibi: null };

/** scale * (q . k) -> the score of query head h at one absolute position for the key at another. The bias is a constant, computed in float64 and rounded once. */
export function scoreOf(
  scaledProduct: number,
  { softcap: cap, alibi }: ScoreRules,
  h: number,
  query: number,
  key: number,
  round: (x: number) => number,
): number {
  const capped = cap === null ? scaledProduct : softcap(scaledProduct, cap, round);
  return alibi === null ? capped : round(capped + round(biasOf(alibi, h, query, key)));
}

function biasOf({ slopes, form, factor }: Alibi, h: number, query: number, key: number): number {
  if (form === 'distance') return factor * slopes[h]! * (key - query);
  return factor * roundToBfloat16(slopes[h]! * roundToBfloat16(key));
}

/** The slopes of H heads: a geometric sequence for a power of two, and every second one of the next for the heads beyond it (the paper's code). */
export function alibiSlopes(heads: number): number[] {
  const power = 2 ** Math.floor(Math.log2(heads));
  const sequence = (count: number) => Array.from({ length: count }, (_, i) => 2 ** ((-8 * (i + 1)) / count));
  const beyond = sequence(2 * power).filter((_, i) => i % 2 === 0);
  return [...sequence(power), ...beyond.slice(0, heads - power)];
}
