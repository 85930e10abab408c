/**
 * Tiled attention with an online softmax (Milakov & Gimelshein 2018, algorithm 3; FlashAttention, Dao et al. 2022, algorithm 1): keys come
 * a tile at a time, and for each query and head only three things are kept, the greatest score m so far, the sum l of exp(score - m),
 * and the sum of exp(score - m) value. Where a later tile has a greater score, both sums are scaled down to it. No row of
 * scores is ever whole, so scratch does not grow with the number of keys.
 *
 * A tile is a run of *positions*, not of stored rows, so the result does not depend on how the cache cuts its blocks, on hidden rows, or on the
 * queries computed together: flash is bit-identical to itself. To the reference it is equal up to reordering.
 */
import { expectSize } from '../../src/errors.js';
import { addScaledInto, BLOCK, dot, roundingOf } from '../../src/math/sum.js';
import { type Floats, flat, TRUE_PRECISIONS } from '../../src/tensor/tensor.js';
import { scoreOf } from '../scores.js';
import { boundBySums, JAVASCRIPT } from './bounds.js';
import type { AttentionCall, AttentionKernel } from './kernel.js';
import { boundInBlocks } from './reference.js';
import { copyKeyInto, type Rows, rowsOfCall } from './rows.js';
import { Scratch } from './scratch.js';

/** @param tile positions a tile @throws UsageError unless it is a whole number of at least 1 */
export function flashOf(tile: number): AttentionKernel {
  expectSize('tile', tile);
  return {
    name: 'flash',
    precisions: TRUE_PRECISIONS, // an emulated one rounds scores and probabilities, of which it has none whole
    // The scores are the reference's, to the bit.
    bound: (keys) => boundBySums(tile, keys, JAVASCRIPT) + boundBySums(BLOCK, keys, JAVASCRIPT),
    truthBound: (keys, scores, unit) => boundBySums(tile, keys, JAVASCRIPT) + boundInBlocks(scores, unit),
    attend(calls, scratch = new Scratch()) {
      for (const call of calls) scratch.within(() => attendOne(call, tile, scratch));
    },
  };
}

export const flash = flashOf(BLOCK);

/** One head of one query, and what is known of it after some tiles. */
interface Head {
  readonly h: number;
  readonly q: Floats;
  /** Where its query begins in q. */
  readonly from: number;
  /** Its key/value head. */
  readonly g: number;
  greatest: number;
  total: number;
  /** [V] */
  readonly sum: Floats;
}

function attendOne(call: AttentionCall, tile: number, scratch: Scratch): void {
  const { rows, tokens, queryHeads, keyDim, valueDim, perGroup } = rowsOfCall(call);
  const [q, out] = [flat(call.q_THK), flat(call.out_THV)];
  const groups = queryHeads / perGroup;
  const seen: Tile = {
    block: scratch.ints(tile),
    row: scratch.ints(tile),
    keys: call.keyStreams.length > 1 ? scratch.floats(q, tile * groups * keyDim) : null,
    scores: scratch.floats(q, tile),
  };
  const tileSum = scratch.floats(q, valueDim);
  for (let t = 0; t < tokens; t++) {
    const heads = Array.from({ length: queryHeads }, (_, h): Head => {
      const row = t * queryHeads + h;
      const sum = out.subarray(row * valueDim, (row + 1) * valueDim).fill(0);
      const g = Math.floor(h / perGroup);
      return { h, q, from: row * keyDim, g, greatest: Number.NEGATIVE_INFINITY, total: 0, sum };
    });
    let any = false;
    forEachTile(call, rows, call.positions[t]!, tile, seen, (count) => {
      any = true;
      gatherKeysInto(seen, count, groups, keyDim, rows);
      for (const head of heads) takeTileInto(head, tileSum, seen, count, call, call.positions[t]!, rows);
    });
    if (!any) continue; // a query that sees nothing has zeros
    for (const [h, head] of heads.entries()) finishInPlace(head, call.sinkLogits_H && call.sinkLogits_H[h]!);
  }
}

/**
 * The rows of a tile that a query sees: where each stands, its keys [G, tile, K] where they have to be joined from several streams, and its
 * scores for one head.
 */
interface Tile {
  readonly block: Int32Array;
  readonly row: Int32Array;
  readonly keys: Floats | null;
  readonly scores: Floats;
}

/** Gathers the rows that a query sees, a tile of positions at a time. Tiles without any are passed over. */
function forEachTile(
  { visibility }: AttentionCall,
  rows: readonly Rows[],
  query: number,
  tile: number,
  seen: Tile,
  use: (count: number) => void,
): void {
  let [count, current] = [0, 0];
  for (const [b, { positions }] of rows.entries()) {
    for (let row = 0; row < positions.length; row++) {
      const position = positions[row]!;
      if (!visibility.sees(query, position)) continue;
      const own = Math.floor(position / tile);
      if (own !== current && count > 0) {
        use(count);
        count = 0;
      }
      current = own;
      seen.block[count] = b;
      seen.row[count++] = row;
    }
  }
  if (count > 0) use(count);
}

/** Joins the keys of a tile, once for all query heads. */
function gatherKeysInto(
  { block, row, keys, scores }: Tile,
  count: number,
  groups: number,
  keyDim: number,
  rows: readonly Rows[],
): void {
  for (let g = 0; keys && g < groups; g++) {
    for (let i = 0; i < count; i++) {
      copyKeyInto(keys, (g * scores.length + i) * keyDim, rows[block[i]!]!, row[i]!, g);
    }
  }
}

/** One step of the online softmax. */
function takeTileInto(
  head: Head,
  tileSum: Floats,
  { block, row, keys, scores }: Tile,
  count: number,
  call: AttentionCall,
  query: number,
  rows: readonly Rows[],
): void {
  const { h, q, from, g } = head;
  const round = roundingOf(q);
  let greatest = head.greatest;
  for (let i = 0; i < count; i++) {
    const { keyDim, heads, keyParts, positions } = rows[block[i]!]!;
    const [key, at] = keys ? [keys, g * scores.length + i] : [keyParts[0]!.data, row[i]! * heads + g];
    const product = round(dot(q, from, key, at * keyDim, keyDim) * round(call.scale));
    scores[i] = scoreOf(product, call, h, query, positions[row[i]!]!, round);
    greatest = Math.max(greatest, scores[i]!);
  }
  if (greatest === Number.NEGATIVE_INFINITY) return; // weighs nothing beside any later score
  let total = 0;
  tileSum.fill(0);
  for (let i = 0; i < count; i++) {
    const { values, valueDim, heads } = rows[block[i]!]!;
    const weight = round(Math.exp(round(scores[i]! - greatest)));
    total = round(total + weight);
    addScaledInto(tileSum, weight, values, (row[i]! * heads + g) * valueDim);
  }
  rescaleInPlace(head, greatest);
  head.total = round(head.total + total);
  for (let v = 0; v < tileSum.length; v++) head.sum[v] = head.sum[v]! + tileSum[v]!;
}

/** Brings both sums to another greatest score. */
function rescaleInPlace(head: Head, greatest: number): void {
  if (greatest === head.greatest) return;
  const round = roundingOf(head.sum);
  const factor = round(Math.exp(round(head.greatest - greatest)));
  head.greatest = greatest;
  head.total = round(head.total * factor);
  for (let v = 0; v < head.sum.length; v++) head.sum[v] = head.sum[v]! * factor;
}

/** The learned sink takes its part of the total, and the sum is divided by it. */
function finishInPlace(head: Head, sinkLogit: number | null): void {
  const round = roundingOf(head.sum);
  if (sinkLogit !== null) {
    rescaleInPlace(head, Math.max(head.greatest, sinkLogit));
    head.total = round(head.total + round(Math.exp(round(sinkLogit - head.greatest))));
  }
  for (let v = 0; v < head.sum.length; v++) head.sum[v] = head.sum[v]! / head.total;
}
