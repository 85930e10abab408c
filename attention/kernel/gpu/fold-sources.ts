/**
 * The kernels that fold scores and values, a chunk of keys at a time (Milakov & Gimelshein 2018, algorithm 3, with the chunks side by side):
 * the greatest score of each chunk, the weights exp(score - greatest), their sum and that of the values they weigh, and the merge of all chunks. (As split-KV
 * or Flash-Decoding, Dao et al. 2023, does it.)
 * The oracle is `softmaxInPlace` and `weightedSumInto` of ../reference.ts.
 */
import type { StoredStream } from '../../stored.js';
import { arraysOf, constantsOf, oneValue } from './reading.js';
import {
  CHUNK,
  eachLane,
  functionOf,
  HIDDEN,
  HIDDEN_BELOW,
  type KernelSource,
  type Rows,
  returned,
  slotArrays,
  slotOf,
  slotScalars,
} from './source.js';

const NO_CONSTANTS = {};

/** The weight of a key that a query does not see: less than any other, and not NaN. (A weight of 0 may be one that a query sees.) */
export const UNSEEN = -1;

/** greatest [chunk, pack]: of scores [packs, keys, lanes]. */
export function greatestSource(lanes: number): KernelSource {
  const [arrays, scalars] = [['scores'], ['count']];
  const body = `${eachLane(lanes, (lane) => `let greatest${lane} = ${HIDDEN};`)}
for (let j = 0; j < ${CHUNK}; j++) {
  const i = this.thread.x * ${CHUNK} + j;
  if (i < count) {
${eachLane(lanes, (lane) => `const score${lane} = scores[this.thread.y][i][${lane}];`)}
${eachLane(lanes, (lane) => `if (score${lane} > greatest${lane}) { greatest${lane} = score${lane}; }`)}
  }
}
${returned(lanes, (lane) => `greatest${lane}`)}`;
  return {
    name: 'greatest',
    text: functionOf(arrays, scalars, body),
    arrays,
    scalars,
    constants: NO_CONSTANTS,
    lanes,
  };
}

/** weights [x 8, y, pack]: of scores [packs, keys, lanes] and greatest [packs, chunks, lanes]. What is hidden has UNSEEN for its weight. */
export function weightsSource(lanes: number): KernelSource {
  const [arrays, scalars] = [['scores', 'greatest'], [] as string[]];
  const body = `const i = this.thread.y * 8 + this.thread.x;
const chunk = Math.floor((i + 0.5) / ${CHUNK});
${eachLane(
  lanes,
  (lane) => `const score${lane} = scores[this.thread.z][i][${lane}];
let weight${lane} = Math.exp(score${lane} - greatest[this.thread.z][chunk][${lane}]);
if (score${lane} < ${HIDDEN_BELOW}) { weight${lane} = ${UNSEEN}; }`,
)}
${returned(lanes, (lane) => `weight${lane}`)}`;
  return { name: 'weights', text: functionOf(arrays, scalars, body), arrays, scalars, constants: NO_CONSTANTS, lanes };
}

/**
 * sums [v, chunk, pack]: of the values that weights [packs, keys, lanes] weigh. Of listed rows column V is the sum of the weights.
 * The key is counted rather than computed: on x86 V8 lets a number that is made of an integer wait for what the round before has computed.
 * For one lane, values of 64 float32 numbers in pages of 256 keys, and not guarded, it is
 *
 * ```js
 * function (weights, values, packs, phase) {
 *   const head = Math.floor((this.thread.z + 0.5) / packs);
 *   let at = head * 64 + this.thread.x;
 *   if (this.thread.x > 63.5) { at = 0; }
 *   let sum0 = 0;
 *   let i = this.thread.y * 256;
 *   for (let j = 0; j < 256; j++) {
 *     const slot = i;
 *     const weight0 = weights[this.thread.z][i][0];
 *     const value = values[slot][at];
 *     sum0 += weight0 * value;
 *     i += 1;
 *   }
 *   return sum0;
 * }
 * ```
 *
 * @param keys that one thread sums
 * @param guarded whether rows whose weight is UNSEEN are passed over, so that NaN in them stays unseen. In unguarded sums, which take half the time in
 * WebAssembly, these weigh 0, and the sum is NaN then.
 */
export function sumsSource(
  stream: StoredStream,
  lanes: number,
  keys: number,
  rows: Rows,
  guarded: boolean,
): KernelSource {
  const arrays = ['weights', ...slotArrays(rows), ...arraysOf(stream, 'values')];
  const scalars = ['packs', ...slotScalars(rows)];
  const { before, each } = oneValue(stream, 'values', rows, 'this.thread.x');
  const add = (lane: number) => `sum${lane} += weight${lane} * value;`;
  const weighted = `${each}
${eachLane(lanes, (lane) => (guarded ? `if (!(weight${lane} < 0)) { ${add(lane)} }` : add(lane)))}`;
  const totals = eachLane(lanes, (lane) => `if (!(weight${lane} < 0)) { sum${lane} += weight${lane}; }`);
  const body = `const head = Math.floor((this.thread.z + 0.5) / packs);
${before}
${eachLane(lanes, (lane) => `let sum${lane} = 0;`)}
let i = this.thread.y * ${keys};
for (let j = 0; j < ${keys}; j++) {
${slotOf(rows)}
${eachLane(lanes, (lane) => `const weight${lane} = weights[this.thread.z][i][${lane}];`)}
${rows === 'listed' ? `if (this.thread.x < ${stream.dim}) {\n${weighted}\n} else {\n${totals}\n}` : weighted}
i += 1;
}
${returned(lanes, (lane) => `sum${lane}`)}`;
  const text = functionOf(arrays, scalars, body);
  return { name: 'sums', text, arrays, scalars, constants: constantsOf(stream), lanes };
}

/**
 * merged [v, pack]: sums [packs, chunks, columns * lanes] of all chunks, brought to the greatest score of all of them. Column V is the sum of all
 * weights, column V + 1 that greatest score.
 * @param most chunks that there can be
 */
export function mergedSource(valueDim: number, lanes: number, most: number): KernelSource {
  const [arrays, scalars] = [['greatest', 'sums'], ['chunks']];
  const greatest = (lane: number) => `greatest[this.thread.y][c][${lane}]`;
  const body = `${eachLane(lanes, (lane) => `let most${lane} = ${HIDDEN};\nlet sum${lane} = 0;`)}
for (let c = 0; c < ${most}; c++) {
  if (c < chunks) {
${eachLane(lanes, (lane) => `if (${greatest(lane)} > most${lane}) { most${lane} = ${greatest(lane)}; }`)}
  }
}
for (let c = 0; c < ${most}; c++) {
  if (c < chunks) {
${eachLane(lanes, (lane) => `sum${lane} += Math.exp(${greatest(lane)} - most${lane}) * sums[this.thread.y][c][this.thread.x * ${lanes} + ${lane}];`)}
  }
}
if (this.thread.x > ${valueDim}.5) {
${eachLane(lanes, (lane) => `sum${lane} = most${lane};`)}
}
${returned(lanes, (lane) => `sum${lane}`)}`;
  return { name: 'merged', text: functionOf(arrays, scalars, body), arrays, scalars, constants: NO_CONSTANTS, lanes };
}
