/** Guarantee: a token's logits have the same bits however they are computed. */
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AttentionCounter } from '../../attention/layer.js';
import { feed } from '../../src/generate/generate.js';
import { type LoadOptions, loadModel } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { type Floats, flat, type Precision } from '../../src/tensor/tensor.js';
import { exactOnes, logitsOf } from '../conformance/cases.js';
import { expectSameBits } from '../support/bits.js';
import { CHECKPOINTS, fixture } from '../support/fixtures.js';

const NAMES = CHECKPOINTS.filter((name) => name.startsWith('tiny-'));

/** The logits of all tokens, in one pass and with the textbook's choices. */
async function plain(name: string, ids: readonly number[], options: LoadOptions = {}): Promise<Floats> {
  const model = loadModel(fixture(name), options);
  return flat(await forward(model, [{ ids, cache: model.components.newCache() }], { logits: 'all' }));
}

const tokens = (least: number, most: number) =>
  fc.array(fc.integer({ min: 0, max: 255 }), { minLength: least, maxLength: most });

describe.each(NAMES)('%s', (name) => {
  const models = exactOnes(loadModel(fixture(name)));

  test.prop([tokens(1, 70), fc.constantFrom(1, 3, 7, 1000), fc.constantFrom(...models)], { numRuns: 30 })(
    'chunks of 1, 3, 7 and all, with any cache and strategy, give the bits of one pass',
    async (ids, chunk, model) => {
      expect(await logitsOf(model, ids, chunk)).toEqual(await plain(name, ids));
    },
  );

  test.prop([tokens(1, 40), tokens(1, 40), tokens(1, 3)], { numRuns: 20 })(
    'a sequence beside others has the bits it has alone',
    async (a, b, more) => {
      const model = loadModel(fixture(name));
      const [first, second] = [model.components.newCache(), model.components.newCache()];
      await forward(model, [{ ids: b, cache: second }]);
      const both = await forward(
        model,
        [
          { ids: a, cache: first },
          { ids: more, cache: second },
        ],
        { logits: 'all' },
      );
      const whole = await plain(name, [...b, ...more]);
      expect(flat(both)).toEqual(Float32Array.of(...(await plain(name, a)), ...whole.subarray(-more.length * 256)));
    },
  );

  it("gives each of several sequences' last logits", async () => {
    const model = loadModel(fixture(name));
    const sequences = [[1, 2, 3], [4], [5, 6]].map((ids) => ({ ids, cache: model.components.newCache() }));
    const last = flat(await forward(model, sequences));
    const alone = await Promise.all(sequences.map(async ({ ids }) => (await plain(name, ids)).subarray(-256)));
    expect(last).toEqual(Float32Array.of(...alone.flatMap((row) => [...row])));
  });

  test.prop([tokens(2, 40), tokens(1, 9)], { numRuns: 20 })('later tokens change nothing', async (ids, later) => {
    const whole = await plain(name, [...ids, ...later]);
    expect(whole.slice(0, ids.length * 256)).toEqual(await plain(name, ids));
  });

  it.each<Precision>(['float32', 'float64'])('holds in %s', async (precision) => {
    const ids = Array.from({ length: 50 }, (_, i) => (i * 37) % 256);
    const expected = await plain(name, ids, { precision });
    for (const other of exactOnes(loadModel(fixture(name), { precision }))) {
      expectSameBits(await logitsOf(other, ids, 3), expected);
    }
  });
});

describe('a pass that fails', () => {
  it('leaves the caches as they were', async () => {
    const model = loadModel(fixture(NAMES[0]!));
    const cache = model.components.newCache();
    await forward(model, [{ ids: [1, 2, 3], cache }]);
    await expect(forward(model, [{ ids: [4, 256], cache }])).rejects.toThrow(
      'Token id 256 is outside the vocabulary, which has the ids 0 to 255.',
    );
    expect(cache.next).toBe(3);
    const after = flat(await forward(model, [{ ids: [4], cache }]));
    expect(after).toEqual((await plain(NAMES[0]!, [1, 2, 3, 4])).slice(-256));
  });

  it('because there are no more learned positions leaves its cache with those that there are', async () => {
    const model = loadModel(fixture('families/gpt2-scaled'));
    const cache = model.components.newCache();
    await forward(model, [{ ids: Array(95).fill(1), cache }]);
    await expect(forward(model, [{ ids: [1, 1], cache }])).rejects.toThrow(
      'Position 96 has no embedding: this model learned the positions 0 to 95, and has no other.',
    );
    await forward(model, [{ ids: [1], cache }]);
    expect(cache.next).toBe(96);
  });

  it('because two sequences share a cache, or there is none, never begins', async () => {
    const model = loadModel(fixture(NAMES[0]!));
    const cache = model.components.newCache();
    const twice = forward(model, [
      { ids: [1], cache },
      { ids: [2], cache },
    ]);
    await expect(twice).rejects.toThrow('each must have a cache of its own');
    await expect(forward(model, [])).rejects.toThrow('at least one sequence');
    await expect(forward(model, [{ ids: [], cache }])).rejects.toThrow('at least one new token');
    expect(cache.bytes()).toEqual({ used: 0, allocated: 0 });
  });

  it('because another pass is under way on its cache leaves that one alone', async () => {
    const model = loadModel(fixture(NAMES[0]!));
    const cache = model.components.newCache();
    const pause = () => new Promise<void>((resolve) => setImmediate(resolve));
    const first = forward(model, [{ ids: [1, 2, 3], cache }], { logits: 'all', pause });
    await expect(forward(model, [{ ids: [4, 5], cache }])).rejects.toThrow('A pass is under way on this cache');
    expect(flat(await first)).toEqual(await plain(NAMES[0]!, [1, 2, 3]));
    expect(cache.next).toBe(3);
  });

  it('because the second cache has no room gives back what the first began', async () => {
    const model = loadModel(fixture(NAMES[0]!));
    const [first, second] = [model.components.newCache(), model.components.newCache()];
    const aborted: unknown[] = [];
    first.abort = () => aborted.push(first);
    second.begin = () => {
      throw new Error('no room');
    };
    await expect(
      forward(model, [
        { ids: [1], cache: first },
        { ids: [2], cache: second },
      ]),
    ).rejects.toThrow('no room');
    expect(aborted).toEqual([first]);
  });

  it('in the middle of its layers is never committed', async () => {
    const model = loadModel(fixture(NAMES[0]!));
    const cache = model.components.newCache();
    await forward(model, [{ ids: [1, 2, 3], cache }]);
    const broken = {
      ...model.components.layers[1]!,
      kernel: {
        name: 'broken',
        bound: () => 0,
        attend: () => {
          throw new Error('device lost');
        },
      },
    };
    const components = { ...model.components, layers: [model.components.layers[0]!, broken] };
    await expect(forward({ ...model, components }, [{ ids: [9, 9], cache }])).rejects.toThrow('device lost');
    expect(cache.next).toBe(3);
    expect(flat(await forward(model, [{ ids: [4], cache }]))).toEqual(
      (await plain(NAMES[0]!, [1, 2, 3, 4])).slice(-256),
    );
  });
});

it('counts what a cache saves: n tokens cost n(n+1)/2 key/value computations without one, and n with it', async () => {
  const n = 20;
  const counts: Record<string, unknown> = {};
  for (const cache of ['none', 'contiguous'] as const) {
    const model = loadModel(fixture(NAMES[0]!), { cache });
    const counter = new AttentionCounter();
    const store = model.components.newCache();
    const ids = Array.from({ length: n }, (_, i) => i);
    for (let end = 1; end <= n; end++) await feed(model, ids.slice(0, end), store, { from: end - 1, counter });
    const layers = model.config.layers.length;
    counts[cache] = { computed: counter.computed / layers, reused: counter.reused / layers };
  }
  expect(counts).toEqual({
    none: { computed: (n * (n + 1)) / 2, reused: 0 },
    contiguous: { computed: n, reused: (n * (n - 1)) / 2 },
  });
});
