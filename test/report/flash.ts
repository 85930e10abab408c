/**
 * `npm run report:flash`: one call of attention over T tokens (8 query heads, 2 key/value heads, head dim 64), tiled with an online softmax against
 * the reference: the error beside its declared bound, and the bytes that each takes beside inputs and outputs. The last column is what a kernel
 * takes that holds all scores at once, [H, T, T] in float32.
 */

import { flashOf } from '../../attention/kernel/flash.js';
import type { AttentionKernel } from '../../attention/kernel/kernel.js';
import { reference } from '../../attention/kernel/reference.js';
import { Scratch } from '../../attention/kernel/scratch.js';
import { PLAIN_SCORES } from '../../attention/scores.js';
import { causal } from '../../attention/visibility/causal.js';
import { type Floats, flat, zerosLike } from '../../src/tensor/tensor.js';
import { type Problem, problem, single } from '../support/streams.js';

const [G, perGroup, K] = [2, 4, 64];
const bytes = (value: number) => value.toLocaleString('en-US');
const row = (cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`);

row(['T', 'tile', 'error / bound (unit roundoffs of the largest value)', 'flash', 'reference', 'all scores, H T T']);
row(Array(6).fill('---'));
for (const T of [64, 256, 1024]) {
  const given = problem({ T, G, perGroup, K, V: K }, single);
  const exact = run(reference, given);
  for (const tile of [8, 32, 128]) {
    const kernel = flashOf(tile);
    const found = run(kernel, given);
    row([
      String(T),
      String(tile),
      `${error(found.out, exact.out, given).toFixed(1)} / ${kernel.bound(T, { keyDim: K, magnitude: 1 }).toFixed(0)}`,
      bytes(found.scratch),
      bytes(exact.scratch),
      bytes(4 * G * perGroup * T * T),
    ]);
  }
}

function run(kernel: AttentionKernel, { q_THK, rows, positions }: Problem): { out: Floats; scratch: number } {
  const out_THV = zerosLike(q_THK, q_THK.shape);
  const scratch = new Scratch();
  const blocks = [{ positions, read: (stream: string) => rows[stream]! }];
  const fixed = { keyStreams: ['keys'], valueStream: 'values', scale: 1 / Math.sqrt(K), visibility: causal };
  kernel.attend([{ q_THK, positions, blocks, ...fixed, sinkLogits_H: null, ...PLAIN_SCORES, out_THV }], scratch);
  return { out: flat(out_THV), scratch: scratch.peakBytes };
}

function error(found: Floats, exact: Floats, { rows }: Problem): number {
  let [most, largest] = [0, 0];
  for (const [i, value] of exact.entries()) most = Math.max(most, Math.abs(found[i]! - value));
  for (const value of flat(rows.values!)) largest = Math.max(largest, Math.abs(value));
  return most / largest / 2 ** -24;
}
