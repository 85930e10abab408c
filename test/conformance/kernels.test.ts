/** One suite for every kernel, on streams made by hand: no model, no weights. */

import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KERNELS, type KernelName } from '../../attention/kernel/index.js';
import type { AttentionKernel } from '../../attention/kernel/kernel.js';
import { PLAIN_SCORES } from '../../attention/scores.js';
import { causal } from '../../attention/visibility/causal.js';
import type { Visibility } from '../../attention/visibility/visibility.js';
import { type Floats, flat, tensor, zerosLike } from '../../src/tensor/tensor.js';
import { cut, double, NO_SCORES, rules, run, window } from '../support/attend.js';
import { noise, type Problem, problem, type Shape, shapes, single } from '../support/streams.js';

/** Those that compute in float64 too. (Those of a device have a suite of their own.) */
const kernels = (Object.keys(KERNELS) as KernelName[]).filter((name) => {
  const { precisions }: AttentionKernel = KERNELS[name];
  return precisions === undefined || precisions.includes('float64');
});

/** softmax(scale q k^T) v in float64, from the definition, sharing no code with any kernel. */
function definition(
  { q_THK, rows }: Problem,
  { T, G, perGroup, K, V }: Shape,
  sees: Visibility['sees'],
  sinks: Floats | null = null,
  scoreOf: (product: number, h: number, t: number, s: number) => number = (product) => product,
): Float64Array {
  const out = new Float64Array(T * G * perGroup * V);
  for (let t = 0; t < T; t++) {
    for (let h = 0; h < G * perGroup; h++) {
      const g = Math.floor(h / perGroup);
      const seen = Array.from({ length: T }, (_, s) => s).filter((s) => sees(t, s));
      const scores = seen.map((s) => {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += q_THK.get(t, h, k) * rows.keys!.get(s, g, k);
        return Math.exp(scoreOf(0.3 * sum, h, t, s));
      });
      const total = scores.reduce((a, b) => a + b, sinks ? Math.exp(sinks[h]!) : 0);
      seen.forEach((s, i) => {
        for (let v = 0; v < V; v++)
          out[(t * G * perGroup + h) * V + v]! += (scores[i]! / total) * rows.values!.get(s, g, v);
      });
    }
  }
  return out;
}

describe.each(kernels)('kernel %s', (kernel) => {
  test.prop([shapes, rules])('computes the definition, in float64', async (shape, visibility) => {
    const given = problem(shape, double);
    const found = await run(kernel, given, cut(given.rows, given.positions, [shape.T]), shape.V, visibility);
    const expected = definition(given, shape, visibility.sees);
    for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i]!, 12);
  });

  test.prop([shapes, rules])(
    'gives a learned sink its part of the softmax, and no value',
    async (shape, visibility) => {
      const given = problem(shape, double);
      const sinks = noise(shape.G * shape.perGroup, 4).map((x) => 2 * x);
      const blocks = cut(given.rows, given.positions, [shape.T]);
      const found = await run(kernel, given, blocks, shape.V, visibility, sinks);
      const expected = definition(given, shape, visibility.sees, sinks);
      for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i]!, 12);
    },
  );

  test.prop([shapes, rules, fc.boolean()])(
    'caps scores first, and then adds the bias of their distance',
    async (shape, visibility, both) => {
      const given = problem(shape, double);
      const blocks = cut(given.rows, given.positions, [7]);
      const slopes = noise(shape.G * shape.perGroup, 5).map(Math.abs);
      const alibi = { slopes: [...slopes], form: 'distance', factor: 0.5 } as const;
      const found = await run(kernel, given, blocks, shape.V, visibility, null, { softcap: both ? 0.2 : null, alibi });
      const score = (product: number, h: number, t: number, s: number) =>
        (both ? 0.2 * Math.tanh(product / 0.2) : product) - 0.5 * slopes[h]! * (t - s);
      const expected = definition(given, shape, visibility.sees, null, score);
      for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i]!, 12);
    },
  );

  it("adds Falcon's bias, of a key's position and its product with the slope rounded to bfloat16", async () => {
    const shape = { T: 2, G: 1, perGroup: 1, K: 1, V: 1 };
    const positions = Int32Array.of(258, 303); // 303 becomes 304; 0.0703125 x 304 = 21.375, x 258 = 18.140625 -> 18.125
    const rows = { keys: tensor(new Float64Array(2), [2, 1, 1]), values: tensor(Float64Array.of(1, 0), [2, 1, 1]) };
    const given = { q_THK: tensor(Float64Array.of(1), [1, 1, 1]), rows, positions: Int32Array.of(303), streams: [] };
    const alibi = { slopes: [0.0703125], form: 'bfloat16', factor: 0.5 } as const;
    const rules = { softcap: null, alibi };
    const [found] = await run(kernel, given, cut(rows, positions, [2]), shape.V, causal, null, rules);
    expect(found).toBeCloseTo(1 / (1 + Math.exp(0.5 * (21.375 - 18.125))), 12);
  });

  const plainOrNot = fc.constantFrom(PLAIN_SCORES, {
    softcap: 0.4,
    alibi: { slopes: Array(12).fill(0.3) as number[], form: 'distance', factor: 1 } as const,
  });
  test.prop([shapes, fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 6 }), plainOrNot])(
    'gives the same bits for any cut into blocks',
    async (shape, sizes, rules) => {
      const given = problem(shape, single);
      const of = (each: readonly number[]) =>
        run(kernel, given, cut(given.rows, given.positions, each), shape.V, causal, null, rules);
      expect(await of(sizes)).toEqual(await of([shape.T]));
    },
  );

  it('gives the same bits whether hidden rows are stored or dropped', async () => {
    const shape = { T: 70, G: 2, perGroup: 2, K: 8, V: 8 };
    const given = problem(shape, single);
    const last = { ...given, q_THK: given.q_THK.lo(69, 0, 0), positions: Int32Array.of(69) };
    const all = await run(kernel, last, cut(given.rows, given.positions, [70]), 8, window);
    const kept = cut(given.rows, given.positions, [61, 9]).slice(1);
    expect(await run(kernel, last, kept, 8, window)).toEqual(all);
  });

  const numbers = fc.array(fc.float({ min: -3, max: 3, noNaN: true }), { minLength: 6, maxLength: 6 });
  test.prop([numbers, numbers])('rounds each score to float32: the product, then its scaling', async (q, k) => {
    const keys = tensor(Float32Array.from(k), [2, 1, 3]);
    const values = tensor(Float32Array.of(1, 0), [2, 1, 1]);
    const q_THK = tensor(Float32Array.from(q.slice(3)), [1, 1, 3]);
    const given = { q_THK, rows: {}, positions: Int32Array.of(1), streams: [] };
    const [found] = await run(kernel, given, cut({ keys, values }, Int32Array.of(0, 1), [2]), 1);
    const f = Math.fround;
    const product = (s: number) => [0, 1, 2].reduce((sum, i) => f(sum + f(q[3 + i]! * k[3 * s + i]!)), 0);
    const scores = [0, 1].map((s) => f(product(s) * f(0.3)));
    const [a, b] = scores.map((score) => f(Math.exp(f(score - Math.max(...scores)))));
    expect(found).toBe(f(a! / f(a! + b!)));
  });

  it('refuses heads that do not fit together', async () => {
    const positions = Int32Array.of(0);
    const rows = (heads: number) => tensor(new Float32Array(heads * 2), [1, heads, 2]);
    const attempt = (queryHeads: number, keyHeads: number, valueHeads: number) => {
      const given = { q_THK: rows(queryHeads), rows: {}, positions, streams: [] };
      return run(kernel, given, cut({ keys: rows(keyHeads), values: rows(valueHeads) }, positions, [1]), 2);
    };
    await expect(attempt(3, 2, 2)).rejects.toThrow('3 query heads cannot share 2 key/value heads evenly');
    await expect(attempt(2, 1, 2)).rejects.toThrow(
      'a key stream: expected S = 1 (stored tokens), G = 2 (key/value heads)',
    );
    await expect(run(kernel, problem({ T: 1, G: 1, perGroup: 1, K: 2, V: 2 }, single), [], 2)).rejects.toThrow(
      'no block',
    );
  });

  it('takes a key from several streams side by side, and a value that is one of them (MLA)', async () => {
    const shape = { T: 40, G: 1, perGroup: 3, K: 20, V: 12 };
    const given = problem(shape, single);
    const key = given.rows.keys!;
    const latent = tensor(
      Float32Array.from({ length: 40 * 12 }, (_, i) => key.get(Math.floor(i / 12), 0, i % 12)),
      [40, 1, 12],
    );
    const rope = tensor(
      Float32Array.from({ length: 40 * 8 }, (_, i) => key.get(Math.floor(i / 8), 0, 12 + (i % 8))),
      [40, 1, 8],
    );
    const blocks = cut({ latent, rope }, given.positions, [16]);
    const out_THV = zerosLike(given.q_THK, [40, 3, 12]);
    const call = {
      q_THK: given.q_THK,
      positions: given.positions,
      blocks,
      scale: 0.3,
      visibility: causal,
      sinkLogits_H: null,
      ...PLAIN_SCORES,
      out_THV,
    };
    await KERNELS[kernel].attend([{ ...call, keyStreams: ['latent', 'rope'], valueStream: 'latent' }]);
    const plain = await run(kernel, given, cut({ keys: key, values: latent }, given.positions, [40]), 12);
    expect(flat(out_THV)).toEqual(plain);
  });
});

const exact = kernels.filter((kernel) => KERNELS[kernel].bound(1, NO_SCORES) === 0);

describe.each(exact)('kernel %s, which declares no error,', (kernel) => {
  it('sums over keys in blocks of 32 by their absolute positions, hidden ones or not', async () => {
    // Keys of zeros weigh 9 visible values alike, at positions 58 to 66: two blocks, whichever rows are hidden or absent.
    const [T, V] = [67, 3];
    const values = Float32Array.from(noise(T * V, 5));
    const rows = { keys: tensor(new Float32Array(T), [T, 1, 1]), values: tensor(values, [T, 1, V]) };
    const q_THK = tensor(Float32Array.of(1), [1, 1, 1]);
    const blocks = cut(
      rows,
      Int32Array.from({ length: T }, (_, i) => i),
      [16],
    );
    const given = { q_THK, rows, positions: Int32Array.of(66), streams: [] };
    const f = Math.fround;
    const expected = Float32Array.from({ length: V }, (_, v) => {
      const sum = (from: number, to: number) => {
        let total = 0;
        for (let s = from; s < to; s++) total = f(total + f(f(1 / 9) * values[s * V + v]!));
        return total;
      };
      return f(sum(58, 64) + sum(64, 67));
    });
    expect(await run(kernel, given, blocks, V, window)).toEqual(expected);
  });
});
