/** The queries of some tokens as kernels take them: rows of one key/value head side by side, so that each key that is read serves several. */
import { flat } from '../../../src/tensor/tensor.js';
import type { Alibi } from '../../scores.js';
import type { AttentionCall } from '../kernel.js';
import type { Scratch } from '../scratch.js';
import { type ArenaStream, headScale } from './arena.js';
import type { Device } from './device.js';
import { QUERY_FACTS } from './scores-source.js';
import { sizesOf } from './sizes.js';
import { CHUNK } from './source.js';

/** Where the rows of queries stand: row r of key/value head g is query head g perGroup + r mod perGroup of token from + floor(r / perGroup). */
export interface Packing {
  /** Tokens [from, to) of the call. */
  readonly from: number;
  readonly to: number;
  readonly groups: number;
  readonly perGroup: number;
  /** Rows that a thread takes: 1, 2 or 4. */
  readonly lanes: number;
  /** Packs of `lanes` rows for each key/value head; the last ones may be empty. */
  readonly packs: number;
}

/** Rows of a key/value head that are computed at once on a device of the host. */
const MOST_HOST_ROWS = 64;

/** Scores that a GPU holds at once, and sums of chunks. */
const MOST_ON_GPU = 2 ** 23;

/**
 * The queries of a call, as many at once as suit the device. A host's kernels are compiled for each number of packs, so these are powers of two.
 * @throws ShapeError if the call's sizes do not fit together
 */
export function packingsOf(call: AttentionCall, { name }: Pick<Device, 'name'>): Packing[] {
  const { tokens, groups, perGroup, stored } = sizesOf(call);
  const forEachRow = groups * stored * Math.max(call.out_THV.shape[2]! / CHUNK, 1);
  const mostRows = name === 'webgpu' ? MOST_ON_GPU / forEachRow : MOST_HOST_ROWS;
  const whole = (packs: number) => (name === 'webgpu' ? packs : 2 ** Math.ceil(Math.log2(packs)));
  const chunk = Math.max(Math.floor(mostRows / perGroup), 1);
  const packings: Packing[] = [];
  for (let from = 0; from < tokens; from += chunk) {
    const to = Math.min(from + chunk, tokens);
    const rows = (to - from) * perGroup;
    const lanes = rows < 3 ? rows : 4;
    packings.push({ from, to, groups, perGroup, lanes, packs: whole(Math.ceil(rows / lanes)) });
  }
  return packings;
}

/** Calls `act` with each row: its pack z, its lane, its token and its query head. */
export function eachRow(
  { from, to, groups, perGroup, lanes, packs }: Packing,
  act: (z: number, lane: number, t: number, h: number) => void,
): void {
  for (let g = 0; g < groups; g++) {
    for (let r = 0; r < (to - from) * perGroup; r++) {
      const h = g * perGroup + (r % perGroup);
      act(g * packs + Math.floor(r / lanes), r % lanes, from + Math.floor(r / perGroup), h);
    }
  }
}

/**
 * q [packs of all heads, K + facts, lanes]: values times the scale of scores and the static scale of what they meet, then the facts of the row. Lanes
 * without a row stand at position -1, and see nothing.
 */
export function packedQueries(
  call: AttentionCall,
  packing: Packing,
  parts: readonly ArenaStream[],
  scratch: Scratch,
): Float32Array {
  const { q_THK, scale, positions, visibility, alibi } = call;
  const [q, [, heads, keyDim]] = [flat(q_THK), q_THK.shape as [number, number, number]];
  const { lanes, groups, packs, perGroup } = packing;
  const width = keyDim + QUERY_FACTS.count;
  const packed = scratch.floats(q, groups * packs * width * lanes) as Float32Array;
  const at = (z: number, k: number, lane: number) => (z * width + k) * lanes + lane;
  for (let z = 0; z < groups * packs; z++) {
    for (let lane = 0; lane < lanes; lane++) packed[at(z, keyDim + QUERY_FACTS.position, lane)] = -1;
  }
  const single = Math.fround(scale);
  eachRow(packing, (z, lane, t, h) => {
    const from = (t * heads + h) * keyDim;
    let k = 0;
    for (const part of parts) {
      const factor = single * headScale(part, Math.floor(h / perGroup));
      for (const end = k + part.schema.dim; k < end; k++) packed[at(z, k, lane)] = q[from + k]! * factor;
    }
    const query = positions[t]!;
    packed[at(z, keyDim + QUERY_FACTS.position, lane)] = query;
    packed[at(z, keyDim + QUERY_FACTS.oldest, lane)] = visibility.oldest(query);
    packed[at(z, keyDim + QUERY_FACTS.slope, lane)] = alibi ? slopeOf(alibi, h) : 0;
  });
  return packed;
}

function slopeOf({ form, slopes, factor }: Alibi, h: number): number {
  return form === 'distance' ? factor * slopes[h]! : slopes[h]!;
}
