import { boundByScores, boundBySums, WGSL } from '../bounds.js';
import type { ScoreSize } from '../kernel.js';
import { reference } from '../reference.js';
import { CHUNK } from './source.js';

const UNIT = 2 ** -24;

/** How far a gpu.js kernel may be from the truth: the products of a score are summed one after the other, what they weigh in chunks. */
export function truthBoundOf(keys: number, scores: ScoreSize): number {
  return boundBySums(CHUNK, keys, WGSL) + boundByScores(scores.keyDim, WGSL, scores, UNIT);
}

/** How far it may be from the reference: as far as both of them from the truth. */
export function boundOf(keys: number, scores: ScoreSize): number {
  return truthBoundOf(keys, scores) + reference.truthBound!(keys, scores, UNIT);
}
