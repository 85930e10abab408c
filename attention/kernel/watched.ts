/** A kernel that also tells what no kernel but the textbook's ever has whole: scores and probabilities. */
import { softmaxInPlace } from '../../src/math/softmax.js';
import { settleInPlace } from '../../src/tensor/emulated.js';
import type { Floats } from '../../src/tensor/tensor.js';
import type { AttentionCall, AttentionKernel } from './kernel.js';
import { visitScores } from './reference.js';
import { rowsOfCall } from './rows.js';
import { Scratch } from './scratch.js';

export interface Watcher {
  /** A call that is about to be computed. */
  call?(call: AttentionCall): void;
  /** One head of one query, heads in order; its arrays are used again. */
  scores?(query: WatchedQuery): void;
}

/** As the reference kernel computes them. */
interface WatchedQuery {
  /** Of the query. */
  readonly position: number;
  readonly h: number;
  /** The positions of the keys that it sees, and its scores and probabilities there. */
  readonly keys: Int32Array;
  readonly scores: Floats;
  readonly probabilities: Floats;
}

/** The same kernel, whose results are what they were. */
export function watched(kernel: AttentionKernel, watcher: Watcher): AttentionKernel {
  return {
    ...kernel,
    async attend(calls, scratch) {
      for (const call of calls) {
        watcher.call?.(call);
        if (watcher.scores) tellScores(call, watcher.scores);
      }
      await kernel.attend(calls, scratch);
    },
  };
}

function tellScores(call: AttentionCall, tell: NonNullable<Watcher['scores']>): void {
  const { rows } = rowsOfCall(call);
  visitScores(call, rows, new Scratch(), ({ t, h, seen, scores }) => {
    const [keys, own] = [seen.positions.subarray(0, seen.count), scores.slice(0, seen.count)];
    softmaxInPlace(scores, seen.positions, seen.count, call.sinkLogits_H && call.sinkLogits_H[h]!);
    const probabilities = scores.subarray(0, seen.count);
    settleInPlace(probabilities);
    tell({ position: call.positions[t]!, h, keys, scores: own, probabilities });
  });
}
