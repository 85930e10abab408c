/**
 * The textbook kernel, the oracle for every other one: for each query and head, the scores of the visible keys, their softmax,
 * and the sum of the values that they weigh (Vaswani et al. 2017, equation 1).
 *
 * Sums over keys are made in blocks of 32 by absolute position (src/math/sum.ts), so the result does not depend on how the
 * cache cuts its blocks, on hidden rows, or on the queries computed together.
 */
import { scaled } from '../../src/math/elementwise.js';
import { softmaxInPlace } from '../../src/math/softmax.js';
import { addScaledInto, BLOCK, blockOf, closeBlockInto, dot, roundingOf } from '../../src/math/sum.js';
import { emulationOf, settleInPlace, settlingOf } from '../../src/tensor/emulated.js';
import { type Floats, flat } from '../../src/tensor/tensor.js';
import { EACH_STORED, type ScoreRules, scoreOf } from '../scores.js';
import { boundByScores, boundBySums, JAVASCRIPT } from './bounds.js';
import type { AttentionCall, AttentionKernel, ScoreSize } from './kernel.js';
import { keysOf, lookInto, type Rows, roomFor, rowsOfCall, type Seen } from './rows.js';
import { Scratch } from './scratch.js';

export const reference: AttentionKernel = {
  name: 'reference',
  bound: () => 0,
  truthBound: (keys, scores, unit) => boundBySums(BLOCK, keys, JAVASCRIPT) + boundInBlocks(scores, unit),
  attend(calls, scratch = new Scratch()) {
    for (const call of calls) scratch.within(() => attendOne(call, scratch));
  },
};

/** What scores do whose products are summed in blocks. */
export function boundInBlocks(scores: ScoreSize, unit: number): number {
  const terms = Math.min(BLOCK, scores.keyDim) + Math.ceil(scores.keyDim / BLOCK);
  return boundByScores(terms, JAVASCRIPT, scores, unit);
}

/** One head of one query, and its scores. */
export interface ScoredQuery {
  /** Which query of the call, and which of its heads. */
  readonly t: number;
  readonly h: number;
  /** Its key/value head. */
  readonly g: number;
  /** The rows that it sees. */
  readonly seen: Seen;
  /** Of each row that it sees, in order: a visitor may write over them. */
  readonly scores: Floats;
}

/** With the scale on the queries, where an emulated precision rounds it there. */
function scaledFirst(call: AttentionCall): AttentionCall {
  if (!call.scoreStores?.scalesQueries || emulationOf(call.q_THK.data) === null) return call;
  return { ...call, q_THK: scaled(call.q_THK, call.scale), scale: 1 };
}

function attendOne(call: AttentionCall, scratch: Scratch): void {
  const { rows, queryHeads, valueDim } = rowsOfCall(call);
  const out = flat(call.out_THV);
  const sum = scratch.floats(out, valueDim);
  const emulates = settlingOf(out) !== null;
  visitScores(call, rows, scratch, ({ t, h, g, seen, scores }) => {
    softmaxInPlace(scores, seen.positions, seen.count, call.sinkLogits_H && call.sinkLogits_H[h]!);
    if (emulates) settleInPlace(scores.subarray(0, seen.count));
    const row = (t * queryHeads + h) * valueDim;
    weightedSumInto(out.subarray(row, row + valueDim), sum, scores, rows, seen, g);
  });
  settleInPlace(out);
}

/** Computes the scores of each query and head in turn. @param rows those of the call's blocks */
export function visitScores(
  given: AttentionCall,
  rows: readonly Rows[],
  scratch: Scratch,
  visit: (query: ScoredQuery) => void,
): void {
  const call = scaledFirst(given);
  const [tokens, queryHeads, keyDim] = call.q_THK.shape as [number, number, number];
  const perGroup = queryHeads / rows[0]!.heads;
  const q = flat(call.q_THK);
  const keys = rows.map((block) => keysOf(block, scratch));
  const seen = roomFor(rows, scratch);
  const scores = scratch.floats(q, seen.positions.length);
  for (let t = 0; t < tokens; t++) {
    lookInto(seen, rows, call.positions[t]!, call);
    for (let h = 0; h < queryHeads; h++) {
      const g = Math.floor(h / perGroup);
      scoresInto(scores, q, (t * queryHeads + h) * keyDim, keys, rows, seen, g, call);
      if (call.softcap !== null || call.alibi) adjustInPlace(scores, seen, h, call.positions[t]!, call);
      visit({ t, h, g, seen, scores });
    }
  }
}

/** score = scale * (q . k), for each visible key of head g. */
function scoresInto(
  scores: Floats,
  q: Floats,
  from: number,
  keys: readonly Floats[],
  rows: readonly Rows[],
  seen: Seen,
  g: number,
  { scale, scoreStores: stores = EACH_STORED }: AttentionCall,
): void {
  const round = roundingOf(q);
  const settle = settlingOf(q);
  for (let i = 0; i < seen.count; i++) {
    const { keyDim, heads } = rows[seen.block[i]!]!;
    const product = dot(q, from, keys[seen.block[i]!]!, (seen.row[i]! * heads + g) * keyDim, keyDim);
    if (!settle) scores[i] = product * round(scale);
    else {
      const scaled = round((stores.product ? settle(product) : product) * round(scale));
      scores[i] = stores.scaled ? settle(scaled) : scaled;
    }
  }
}

/** Caps the scores of query head h, and adds the bias of each key's distance. */
function adjustInPlace(scores: Floats, { positions, count }: Seen, h: number, query: number, rules: ScoreRules): void {
  const [round, settle] = [roundingOf(scores), settlingOf(scores)];
  for (let i = 0; i < count; i++) scores[i] = scoreOf(scores[i]!, rules, h, query, positions[i]!, round, settle);
}

/** out = sum of probability * value over the visible rows of head g. `sum` is scratch of out's size, zero before and after. */
function weightedSumInto(
  out: Floats,
  sum: Floats,
  probabilities: Floats,
  rows: readonly Rows[],
  seen: Seen,
  g: number,
): void {
  out.fill(0);
  for (let i = 0; i < seen.count; i++) {
    const { values, valueDim, heads } = rows[seen.block[i]!]!;
    addScaledInto(sum, probabilities[i]!, values, (seen.row[i]! * heads + g) * valueDim);
    const last = i + 1 === seen.count || blockOf(seen.positions[i + 1]!) !== blockOf(seen.positions[i]!);
    if (last) closeBlockInto(out, sum);
  }
}
