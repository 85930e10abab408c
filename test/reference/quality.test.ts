/** Static scales, and what lossy choices cost, against sums made by hand. */
import { describe, expect, it } from 'vitest';
import { feed } from '../../src/generate/generate.js';
import { logProbability } from '../../src/generate/sampler.js';
import { assemble, loadModel, type Model } from '../../src/model/load.js';
import { calibrate } from '../../src/reference/calibrate.js';
import { divergenceOf } from '../../src/reference/divergence.js';
import { relationOf } from '../../src/reference/lattice.js';
import { measureQuality } from '../../src/reference/quality.js';
import { flat } from '../../src/tensor/tensor.js';
import { textbook } from '../conformance/cases.js';
import { fixture } from '../support/fixtures.js';

const idsOf = (length: number) => Array.from({ length }, (_, i) => (i * i * 7 + 3 * i) % 256);
const model = loadModel(fixture('tiny-llama-rope3-f16'));
const shortened: Model = assemble({ ...model.config, context: 40 }, model.weights);

async function logitsOf(of: Model, ids: readonly number[]): Promise<Float32Array> {
  return flat(await feed(of, ids, of.components.newCache(), { from: 0, logits: 'all' })) as Float32Array;
}

describe('calibrate', () => {
  it('takes the largest value of each head over all segments', async () => {
    const ids = idsOf(100);
    const found = await calibrate(shortened, ids);
    const expected = model.components.schemas.map(() => ({ keys: [0, 0], values: [0, 0] }));
    for (const [from, to] of [
      [0, 40],
      [40, 80],
      [80, 100],
    ] as const) {
      // biome-ignore format: pairs
      const cache = shortened.components.newCache();
      await feed(shortened, ids.slice(from, to), cache, { from: 0 });
      for (const [layer, heads] of expected.entries()) {
        for (const name of ['keys', 'values'] as const) {
          const values = flat(cache.blocks(layer)[0]!.read(name));
          for (const g of [0, 1]) {
            const own = values.filter((_, i) => Math.floor(i / 16) % 2 === g);
            heads[name][g] = Math.max(heads[name][g]!, ...own.map(Math.abs));
          }
        }
      }
    }
    expect(found).toEqual(expected);
    expect(await calibrate(assemble(model.config, model.weights, { ...model.options, kvDtype: 'int4' }), ids)).toEqual(
      await calibrate(model, ids),
    );
  });

  it('refuses a text without tokens, and a model that stores what is not finite', async () => {
    await expect(calibrate(model, [])).rejects.toThrow('no tokens to calibrate on');
    const layers = model.weights.layers.map((layer) => {
      if (layer.attention.kind !== 'grouped') return layer;
      const { weight, bias } = layer.attention.value;
      const value = { weight: { ...weight, bits: (weight.bits as Uint16Array).map(() => 0x7c00) }, bias };
      return { ...layer, attention: { ...layer.attention, value } };
    });
    await expect(calibrate(assemble(model.config, { ...model.weights, layers }), [1, 2])).rejects.toThrow(
      "Layer 0 stores 'values' that are NaN or infinite",
    );
  });
});

describe('quality', () => {
  it('is the perplexity and the divergence of all tokens that have a successor, whatever the segments', async () => {
    const ids = idsOf(31);
    const done: number[][] = [];
    const choice = { name: 'four bits', options: { kvDtype: 'int4' } } as const;
    const options = { segment: 12, progress: (at: number, of: number) => done.push([at, of]) };
    const found = await measureQuality(shortened, ids, [choice], options);
    const int4 = assemble(shortened.config, shortened.weights, { ...shortened.options, kvDtype: 'int4' });
    for (const [run, { name, perplexity, meanKl, maxKl, top1, kvBytes }] of [shortened, int4].map(
      (one, i) => [one, found[i]!] as const,
    )) {
      let [cost, logits, exact]: [number, number[], number[]] = [0, [], []];
      for (const [from, to] of [
        [0, 12],
        [12, 24],
        [24, 30],
      ] as const) {
        // biome-ignore format: pairs
        const own = await logitsOf(run, ids.slice(from, to));
        for (let t = from; t < to; t++)
          cost -= logProbability(own.subarray((t - from) * 256, (t - from + 1) * 256), ids[t + 1]!);
        logits = [...logits, ...own];
        exact = [...exact, ...(await logitsOf(shortened, ids.slice(from, to)))];
      }
      const apart = divergenceOf(Float32Array.from(logits), Float32Array.from(exact), 256);
      expect([name, maxKl]).toEqual([run === int4 ? 'four bits' : 'exact', apart.maxKl]);
      expect(perplexity).toBeCloseTo(Math.exp(cost / 30), 9);
      expect(meanKl).toBeCloseTo(apart.meanKl, 12);
      expect(top1).toBeCloseTo(apart.top1, 12);
      // 2 layers, 12 tokens, 2 heads of 16, keys and values: floats, or half bytes and a float16 for each head
      expect(kvBytes).toBe(run === int4 ? 2 * 12 * 2 * (16 + 4) : 2 * 12 * 2 * 32 * 4);
    }
    expect(done).toEqual([[12, 30], [24, 30], [30, 30]]); // biome-ignore format: pairs
  });

  it('refuses a text that predicts nothing, and segments of nothing', async () => {
    await expect(measureQuality(model, [1], [])).rejects.toThrow('The text has 1 tokens; at least 2 are needed');
    await expect(measureQuality(model, [1, 2], [], { segment: 0 })).rejects.toThrow('segment (--segment)');
  });
});

it('a form that rounds nothing is exact: in float32 also float64, in float64 that alone', () => {
  const plain = textbook({ visibility: 'auto', positions: 'absolute' });
  const kindOf = (kvDtype: 'float32' | 'float64', precision: 'float32' | 'float64') =>
    relationOf({ ...plain, kvDtype }, plain, model.config, 20, precision).kind;
  expect([kindOf('float32', 'float32'), kindOf('float64', 'float32')]).toEqual(['exact', 'exact']);
  expect([kindOf('float32', 'float64'), kindOf('float64', 'float64')]).toEqual(['lossy', 'exact']);
});

it('in an emulated precision a form is exact that holds its numbers, and what is only reordered is another function', () => {
  const plain = textbook({ visibility: 'auto', positions: 'absolute' });
  const kindOf = (kvDtype: 'float32' | 'float16' | 'bfloat16', precision: 'float16' | 'bfloat16') =>
    relationOf({ ...plain, kvDtype }, { ...plain, kvDtype: 'auto' }, model.config, 20, precision).kind;
  expect([kindOf('bfloat16', 'bfloat16'), kindOf('float32', 'bfloat16')]).toEqual(['exact', 'exact']);
  expect([kindOf('float16', 'bfloat16'), kindOf('bfloat16', 'float16')]).toEqual(['lossy', 'lossy']);
  const { config } = loadModel(fixture('tiny-deepseek-v3-bf16'));
  const toAbsorbed = (precision: 'float32' | 'bfloat16') =>
    relationOf({ ...plain, attention: 'mla' }, { ...plain, attention: 'mla-naive' }, config, 20, precision).kind;
  expect([toAbsorbed('float32'), toAbsorbed('bfloat16')]).toEqual(['reordered', 'lossy']);
});
