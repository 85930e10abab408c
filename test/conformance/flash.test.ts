/** The flash kernel against the reference: its declared bound, its scratch, and scores that overflow. */

import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { flashOf } from '../../attention/kernel/flash.js';
import { KERNELS } from '../../attention/kernel/index.js';
import type { AttentionKernel } from '../../attention/kernel/kernel.js';
import { Scratch } from '../../attention/kernel/scratch.js';
import { PLAIN_SCORES } from '../../attention/scores.js';
import { consecutive } from '../../attention/streams.js';
import { causal } from '../../attention/visibility/causal.js';
import type { Visibility } from '../../attention/visibility/visibility.js';
import { type Floats, flat, tensor } from '../../src/tensor/tensor.js';
import { cut, double, NO_SCORES, rules, run } from '../support/attend.js';
import { noise, type Problem, problem, single } from '../support/streams.js';

/** The largest difference to the reference, in unit roundoffs of the largest value. */
async function errorOf(
  kernel: AttentionKernel,
  given: Problem,
  V: number,
  visibility: Visibility,
  sinks: Floats | null,
) {
  const blocks = cut(given.rows, given.positions, [given.positions.length]);
  const [found, expected] = [
    await run(kernel, given, blocks, V, visibility, sinks),
    await run('reference', given, blocks, V, visibility, sinks),
  ];
  let [error, largest] = [0, 0];
  for (const value of flat(given.rows.values!)) largest = Math.max(largest, Math.abs(value));
  for (const [i, value] of found.entries()) error = Math.max(error, Math.abs(value - expected[i]!));
  return error / largest / (found instanceof Float32Array ? 2 ** -24 : 2 ** -53);
}

describe('kernel flash', () => {
  const long = fc.record({
    T: fc.integer({ min: 1, max: 300 }),
    G: fc.constant(1),
    perGroup: fc.integer({ min: 1, max: 2 }),
    K: fc.integer({ min: 1, max: 24 }),
    V: fc.integer({ min: 1, max: 8 }),
  });

  test.prop(
    [
      long,
      rules,
      fc.integer({ min: 1, max: 64 }),
      fc.boolean(),
      fc.constantFrom(single, double),
      fc.double({ min: 0.1, max: 8, noNaN: true }),
    ],
    { numRuns: 60 },
  )(
    'stays within its bound for tiles of any size, flat and peaked scores, and sinks',
    async (shape, visibility, tile, withSinks, convert, peak) => {
      const given = problem(shape, convert);
      given.q_THK.data.forEach((x, i) => {
        given.q_THK.data[i] = x * peak;
      });
      const sinks = withSinks ? convert(noise(shape.perGroup, 4)) : null;
      const kernel = flashOf(tile);
      expect(await errorOf(kernel, given, shape.V, visibility, sinks)).toBeLessThanOrEqual(
        kernel.bound(shape.T, NO_SCORES),
      );
    },
  );

  it.each([
    ['one key stream', ['keys']],
    ['two key streams (MLA)', ['keys', 'more']],
  ])(
    'takes scratch that does not grow with the number of keys, where the reference does: %s',
    async (_, keyStreams) => {
      const [G, K] = [2, 8 * keyStreams.length];
      const peak = async (kernel: AttentionKernel, T: number) => {
        const { rows, positions } = problem({ T, G, perGroup: 2, K: 8, V: 8 }, single);
        const blocks = cut({ ...rows, more: rows.keys! }, positions, [T]);
        const scratch = new Scratch();
        const [q_THK, out_THV] = [tensor(new Float32Array(4 * K), [1, 4, K]), tensor(new Float32Array(32), [1, 4, 8])];
        const fixed = {
          keyStreams,
          valueStream: 'values',
          scale: 1,
          visibility: causal,
          sinkLogits_H: null,
          ...PLAIN_SCORES,
        };
        await kernel.attend([{ q_THK, out_THV, positions: Int32Array.of(T - 1), ...fixed, blocks }], scratch);
        return scratch.peakBytes;
      };
      const joined = (tokens: number) => (keyStreams.length > 1 ? tokens * G * K * 4 : 0);
      expect(await peak(KERNELS.flash, 1000)).toBe(await peak(KERNELS.flash, 100));
      expect(await peak(KERNELS.flash, 100)).toBe(32 * (4 + 4 + 4) + joined(32) + 8 * 4);
      expect(await peak(KERNELS.reference, 1000)).toBe(1000 * (3 * 4 + 4) + 8 * 4 + joined(1000));
    },
  );

  it('passes over tiles whose scores are all -Infinity, as a softmax does', async () => {
    const T = 40;
    const keys = Float32Array.from({ length: T }, (_, i) => (i < 35 ? -3e38 : i / T));
    const values = Float32Array.from({ length: T }, (_, i) => i);
    const rows = { keys: tensor(keys, [T, 1, 1]), values: tensor(values, [T, 1, 1]) };
    const given = { q_THK: tensor(Float32Array.of(3e38), [1, 1, 1]), rows, positions: Int32Array.of(39), streams: [] };
    const cuts = cut(rows, consecutive(0, T), [T]);
    for (const kernel of [KERNELS.reference, flashOf(4), flashOf(32)])
      expect([...(await run(kernel, given, cuts, 1))]).toEqual([39]);
  });

  it('refuses a tile of no size', () => {
    expect(() => flashOf(0)).toThrow('tile: expected a whole number of at least 1, got 0.');
  });
});
