/** What an attention layer does to queries beside their rotation, on a strategy, a cache and a kernel that hand through what they are given. */
import { describe, expect, it } from 'vitest';
import type { KvCache } from '../../attention/cache/cache.js';
import type { AttentionCall } from '../../attention/kernel/kernel.js';
import { AttentionCounter, attentionLayer } from '../../attention/layer.js';
import { PLAIN_SCORES } from '../../attention/scores.js';
import { projectHeads } from '../../attention/strategy/grouped.js';
import { causal } from '../../attention/visibility/causal.js';
import { grouped, rms } from '../../src/model/families/decoder.js';
import { flat, type Tensor, tensor } from '../../src/tensor/tensor.js';

/** The queries [T, 1, 2] that the kernel is given for the rows [from, to) of each sequence, where all were `x` before. */
async function queriesAt(
  x: number,
  starts: readonly number[],
  temperature: { floorScale: number; attentionScale: number },
) {
  const each = 3;
  const x_TD = tensor(new Float32Array(2 * each * starts.length).fill(x), [each * starts.length, 2]);
  const strategy = {
    name: 'given',
    streams: [{ name: 'values', heads: 1, dim: 2, key: false, ropeFrom: null }],
    keyStreams: [],
    valueStream: 'values',
    scale: 1,
    queryHeads: 1,
    sinkLogits_H: null,
    ...PLAIN_SCORES,
    temperature,
    afterRope: null,
    project: (given_TD: Tensor) => ({ q_THK: tensor(flat(given_TD).slice(), [given_TD.shape[0]!, 1, 2]), rows: {} }),
    output: (out_THV: Tensor) => out_THV,
  };
  const cache = { write: () => {}, epochOf: () => 0, blocks: () => [] } as unknown as KvCache;
  const parts = starts.map((start, i) => ({
    cache,
    from: i * each,
    to: (i + 1) * each,
    positions: Int32Array.of(start, start + 1, start + 2),
  }));
  const found: number[] = [];
  const kernel = {
    name: 'given',
    bound: () => 0,
    attend: (calls: readonly AttentionCall[]) => {
      for (const { q_THK } of calls) found.push(...flat(q_THK));
    },
  };
  const layer = { index: 0, strategy, visibility: causal, kernel, slots: null };
  await attentionLayer(x_TD, layer, null, parts, new AttentionCounter());
  return found.filter((_, i) => i % 2 === 0);
}

describe('a temperature', () => {
  const f = Math.fround;
  const temperature = { floorScale: 4, attentionScale: 0.1 };

  it('warms a query by the whole number of scales that it has seen, in float32 by a factor that is rounded first', async () => {
    const factors = [1, 1 + 0.1 * Math.log(2), 1 + 0.1 * Math.log(2)];
    const x = 2.5; // the products with the factor and with its rounding are two numbers
    expect(await queriesAt(x, [2], temperature)).toEqual(factors.map((factor) => f(x * f(factor))));
  });

  it('is that of the position in its own sequence', async () => {
    const alone = [await queriesAt(1, [0], temperature), await queriesAt(1, [9], temperature)].flat();
    expect(await queriesAt(1, [0, 9], temperature)).toEqual(alone);
    expect(new Set(alone).size).toBe(3);
  });
});

it('queries and keys are normed first, and then clipped; values are clipped alone', () => {
  const identity = {
    weight: { name: 'identity', dtype: 'F64', rows: 2, columns: 2, bits: Float64Array.of(1, 0, 0, 1) } as const,
    bias: null,
  };
  const [queryNorm, keyNorm] = [1, 2].map((weight) => ({ weight: new Float64Array(2).fill(weight), bias: null }));
  const qkNorm = { norm: rms(1e-9), scope: 'head', place: 'before-rope' } as const;
  const { q_THK, k_TGK, v_TGV } = projectHeads(
    tensor(Float64Array.of(30, -40), [1, 2]), // over its root mean square: 0.85 and -1.13
    {
      kind: 'grouped',
      query: identity,
      key: identity,
      value: identity,
      output: identity,
      sinks: null,
      queryNorm: queryNorm!,
      keyNorm: keyNorm!,
    },
    grouped({ queryHeads: 1, keyValueHeads: 1, headDim: 2 }, null, { qkNorm, clip: 1.5 }),
  );
  const [first, second] = [30 / Math.sqrt(1250), -40 / Math.sqrt(1250)];
  expect([...flat(q_THK)].map((x, i) => x - [first, second][i]!)).toEqual([expect.closeTo(0, 9), expect.closeTo(0, 9)]);
  expect([...flat(k_TGK)]).toEqual([1.5, -1.5]);
  expect([...flat(v_TGV)]).toEqual([1.5, -1.5]);
});
