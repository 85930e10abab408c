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
  /** `key`: where a precision is emulated, `distance` is slope * key rounded to the dtype, as BLOOM's code has it, and the further from position 0, the more is lost. */
  readonly emulatedAs?: 'key';
}

/**
 * Which results transformers rounds on the way to a score, which matters to an emulated precision alone: q . k, that times the scale (and what softcap makes of it),
 * and the sum with the bias. What is not rounded stays float32.
 */
export interface ScoreStores {
  readonly product: boolean;
  readonly scaled: boolean;
  readonly biased: boolean;
  /** The scale is on the queries, and rounded there, before they meet keys (OPT). */
  readonly scalesQueries?: true;
}

/** Of the eager attention that most families share. */
export const EACH_STORED: ScoreStores = { product: true, scaled: true, biased: true };

/** Of families that compute scores in float32. */
export const NONE_STORED: ScoreStores = { product: false, scaled: false, biased: false };

/** What makes a score of a scaled product. */
export interface ScoreRules {
  /** cap tanh(score / cap); null: as it is. */
  readonly softcap: number | null;
  readonly alibi: Alibi | null;
  /** Left out: each. */
  readonly scoreStores?: ScoreStores | undefined;
}

/** Scores as they are. */
export const PLAIN_SCORES: ScoreRules = { softcap: null, alibi: null };

/**
 * scale * (q . k) -> the score of query head h at one absolute position for the key at another. The bias is a constant, computed in float64 and rounded once.
 * @param round to the working precision
 * @param settle to the dtype that is emulated; null: none is
 */
export function scoreOf(
  scaledProduct: number,
  { softcap: cap, alibi, scoreStores: stores = EACH_STORED }: ScoreRules,
  h: number,
  query: number,
  key: number,
  round: (x: number) => number,
  settle: ((x: number) => number) | null = null,
): number {
  const store = (stores.scaled && settle) || round;
  const capped = cap === null ? scaledProduct : softcap(scaledProduct, round(cap), store);
  if (alibi === null) return capped;
  const sum = round(capped + round(biasOf(alibi, h, query, key, settle)));
  return stores.biased && settle ? settle(sum) : sum;
}

function biasOf(alibi: Alibi, h: number, query: number, key: number, settle: ((x: number) => number) | null): number {
  const { slopes, form, factor, emulatedAs } = alibi;
  if (settle && emulatedAs === 'key') return settle(factor * slopes[h]! * key);
  if (form === 'distance') return factor * slopes[h]! * (key - query);
  const bias = factor * roundToBfloat16(slopes[h]! * roundToBfloat16(key));
  return settle ? settle(bias) : bias;
}

/** The slopes of H heads: a geometric sequence for a power of two, and every second one of the next for the heads beyond it (the paper's code). */
export function alibiSlopes(heads: number): number[] {
  const power = 2 ** Math.floor(Math.log2(heads));
  const sequence = (count: number) => Array.from({ length: count }, (_, i) => 2 ** ((-8 * (i + 1)) / count));
  const beyond = sequence(2 * power).filter((_, i) => i % 2 === 0);
  return [...sequence(power), ...beyond.slice(0, heads - power)];
}
