/** What is known of each query row after some keys, and the end of it: the sink's part, and the division. */
import { type Floats, flat } from '../../../src/tensor/tensor.js';
import type { AttentionCall } from '../kernel.js';
import type { Scratch } from '../scratch.js';
import { eachRow, type Packing } from './queries.js';
import { HIDDEN, LOWEST } from './source.js';

const NO_SCORE = Math.fround(LOWEST);

const [SINGLE, DOUBLE] = [new Float32Array(0), new Float64Array(0)];

/** Of each lane of each pack: the greatest score, and the sums of exp(score - greatest) and of what it weighs [V]. */
export class Folded {
  readonly greatest: Floats;
  readonly total: Floats;
  readonly sums: Floats;
  readonly valueDim: number;

  constructor({ groups, packs, lanes }: Packing, valueDim: number, scratch: Scratch) {
    const rows = groups * packs * lanes;
    this.greatest = scratch.floats(SINGLE, rows).fill(HIDDEN);
    this.total = scratch.floats(DOUBLE, rows);
    this.sums = scratch.floats(DOUBLE, rows * valueDim);
    this.valueDim = valueDim;
  }

  /** Brings what is known of a row to a greatest score that is no less. @returns what a sum that comes with another one has to be multiplied by */
  raise(row: number, greatest: number): number {
    const before = this.greatest[row]!;
    if (!(greatest > before)) return Math.exp(greatest - before);
    const factor = before === HIDDEN ? 0 : Math.exp(before - greatest);
    this.greatest[row] = greatest;
    this.total[row] = this.total[row]! * factor;
    for (let v = row * this.valueDim; v < (row + 1) * this.valueDim; v++) this.sums[v] = this.sums[v]! * factor;
    return Math.exp(greatest - greatest); // 1, or NaN beside Infinity
  }
}

/** Divides each row's sum by its total, in which the learned sink takes its part. A row that saw nothing is zeros; one whose scores are all -Infinity is NaN, as in a softmax. */
export function finishInto(call: AttentionCall, packing: Packing, folded: Folded): void {
  const { out_THV, sinkLogits_H } = call;
  const [out, heads, { valueDim }] = [flat(out_THV), out_THV.shape[1]!, folded];
  eachRow(packing, (z, lane, t, h) => {
    const row = z * packing.lanes + lane;
    if (sinkLogits_H) folded.total[row] = folded.raise(row, sinkLogits_H[h]!) + folded.total[row]!;
    const total = folded.greatest[row] === NO_SCORE ? Number.NaN : folded.total[row]!;
    for (let v = 0; v < valueDim; v++) {
      const sum = folded.sums[row * valueDim + v]!;
      out[(t * heads + h) * valueDim + v] = total === 0 ? 0 : sum / total;
    }
  });
}
