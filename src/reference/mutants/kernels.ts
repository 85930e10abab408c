/** Kernels that go wrong: calls that are changed before they are computed, and weights of keys that are made in another way. */
import type { AttentionCall } from '../../../attention/kernel/kernel.js';
import { type ScoredQuery, visitScores } from '../../../attention/kernel/reference.js';
import { rowsOfCall } from '../../../attention/kernel/rows.js';
import { Scratch } from '../../../attention/kernel/scratch.js';
import type { AttentionLayer } from '../../../attention/layer.js';
import type { Model } from '../../model/load.js';
import { type Floats, flat, tensor } from '../../tensor/tensor.js';
import type { Mutation } from './mutant.js';

type Attends = NonNullable<Mutation['attends']>;

/** Each call of a layer is another one. */
export function withCalls(
  change: (call: AttentionCall, layer: AttentionLayer, model: Model) => AttentionCall,
): Attends {
  return (layer, model) => ({
    ...layer,
    kernel: {
      ...layer.kernel,
      attend: (calls, scratch) =>
        layer.kernel.attend(
          calls.map((call) => change(call, layer, model)),
          scratch,
        ),
    },
  });
}

/** Queries see other keys. @param start the position at which the pass begins */
export function withSight(sees: (query: number, key: number, start: number, right: AttentionCall) => boolean): Attends {
  return withCalls((call) => ({
    ...call,
    visibility: {
      ...call.visibility,
      sees: (query, key) => sees(query, key, call.positions[0]!, call),
    },
  }));
}

/** Calls whose rows are read otherwise. @param change of the rows of a stream [S, heads, dim], flat; they may be changed in place */
export function withRows(
  change: (rows: Floats, stream: string, heads: number, dim: number, layer: AttentionLayer, model: Model) => void,
): Attends {
  return withCalls((call, layer, model) => ({
    ...call,
    blocks: call.blocks.map(({ positions, read }) => ({
      positions,
      read(stream) {
        const rows = read(stream);
        const own = flat(rows).slice();
        change(own, stream, rows.shape[1]!, rows.shape[2]!, layer, model);
        return tensor(own, rows.shape);
      },
    })),
  }));
}

/**
 * A kernel that makes weights of scores in its own way.
 * @param weigh turns the scores of the keys that a query head sees into weights, in place
 */
export function withWeights(
  weigh: (query: ScoredQuery, call: AttentionCall) => void,
  prepared: (call: AttentionCall) => AttentionCall = (call) => call,
): Attends {
  return (layer) => ({
    ...layer,
    kernel: {
      ...layer.kernel,
      attend(calls) {
        for (const call of calls) attendBy(prepared(call), weigh);
      },
    },
  });
}

function attendBy(call: AttentionCall, weigh: (query: ScoredQuery, call: AttentionCall) => void): void {
  const { rows, queryHeads, valueDim } = rowsOfCall(call);
  const out = flat(call.out_THV);
  const sums = new Float64Array(valueDim);
  visitScores(call, rows, new Scratch(), (query) => {
    const { t, h, g, seen, scores } = query;
    weigh(query, call);
    sums.fill(0);
    for (let i = 0; i < seen.count; i++) {
      const { values, heads } = rows[seen.block[i]!]!;
      const from = (seen.row[i]! * heads + g) * valueDim;
      for (let v = 0; v < valueDim; v++) sums[v]! += scores[i]! * values[from + v]!;
    }
    out.set(sums, (t * queryHeads + h) * valueDim);
  });
}

/** softmax with every operation rounded to 16 bits, over all but the greatest exactly as PyTorch orders them: difference, exponent, sum, quotient. */
export function softmaxIn(round: (x: number) => number, scores: Floats, count: number, sink: number | null): void {
  let greatest = sink ?? Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    scores[i] = round(scores[i]!);
    greatest = Math.max(greatest, scores[i]!);
  }
  let sum = sink === null ? 0 : round(Math.exp(round(round(sink) - greatest)));
  for (let i = 0; i < count; i++) {
    scores[i] = round(Math.exp(round(scores[i]! - greatest)));
    sum = round(sum + scores[i]!);
  }
  for (let i = 0; i < count; i++) scores[i] = round(scores[i]! / sum);
}
