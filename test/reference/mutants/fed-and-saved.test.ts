/** Mistakes outside of a pass: in what it is fed, what its cache holds, and what is saved of it. */
import { describe, expect, it } from 'vitest';
import type { AttentionCall } from '../../../attention/kernel/kernel.js';
import type { Model } from '../../../src/model/load.js';
import { forward } from '../../../src/model/transformer.js';
import { candidatesFor } from '../../../src/reference/mutants/index.js';
import { type Floats, flat } from '../../../src/tensor/tensor.js';
import { expectSameBits } from '../../support/bits.js';
import { computed, lawIds, lawModel } from '../../support/mutant-laws.js';
import { withKernel } from '../../support/twin.js';

const TOKENS = 9;

const variant = (model: Model, name: string) => {
  const found = candidatesFor(model).find((own) => own.name === name);
  expect(found, name).toBeDefined();
  return found!.variant;
};

const logitsOf = async (model: Model, ids: readonly number[]) =>
  flat(await forward(model, [{ ids, cache: model.components.newCache() }], { logits: 'all' }));

describe('what is fed', () => {
  const model = lawModel('tiny-llama-linear-bf16');
  const ids = lawIds(model, TOKENS);
  const width = model.config.vocabulary;
  const CASES: readonly (readonly [string, fed: number[], rowsBefore: number])[] = [
    ['bos-twice', [ids[0]!, ...ids], 1],
    ['bos-missing', ids.slice(1), -1],
    ['padding-seen (2 x token 0)', [0, 0, ...ids], 2],
    ['padding-seen (4 x token 255)', [255, 255, 255, 255, ...ids], 4],
  ];

  it.each(CASES)('%s: the rows of their tokens, in the pass over all that was fed', async (name, fed, before) => {
    const { points, firstRow } = await computed(model, variant(model, name), ids);
    const { values } = points.get('logits')!;
    const expected = await logitsOf(model, fed);
    expect(values.length).toBe(TOKENS * width);
    expect(firstRow).toBe(Math.max(0, -before));
    expectSameBits(values.subarray(firstRow * width), expected.subarray(Math.max(0, before) * width));
    expect(values.subarray(0, firstRow * width).every((value) => value === 0)).toBe(true); // not told
  });
});

describe('what is saved', () => {
  const model = lawModel('tiny-llama-linear-bf16');
  const ids = lawIds(model, TOKENS);
  const width = model.config.vocabulary;
  const saved = async (name: string) => (await computed(model, variant(model, name), ids)).points;

  it('differs in its logits alone', async () => {
    const right = await computed(model, {}, ids);
    for (const { mutant, variant: own } of candidatesFor(model)) {
      if (mutant.group !== 'what was saved') continue;
      const { points } = await computed(model, own, ids);
      for (const [name, { values }] of right.points) {
        if (name !== 'logits') expectSameBits(points.get(name)!.values, values);
      }
    }
  });

  it('logits-softmax are probabilities, and logits-log-softmax their logarithms', async () => {
    const right = await logitsOf(model, ids);
    const [p, log] = [
      (await saved('logits-softmax')).get('logits')!,
      (await saved('logits-log-softmax')).get('logits')!,
    ];
    for (let row = 0; row < TOKENS; row++) {
      const own = (values: Floats) => Array.from(values.subarray(row * width, (row + 1) * width));
      const exponents = own(right).map(Math.exp);
      const sum = exponents.reduce((all, one) => all + one, 0);
      expect(own(p.values).reduce((all, one) => all + one, 0)).toBeCloseTo(1, 5);
      for (const [i, value] of own(p.values).entries()) {
        expect(value).toBeCloseTo(exponents[i]! / sum, 6);
        expect(own(log.values)[i]).toBeCloseTo(Math.log(exponents[i]! / sum), 4);
      }
    }
  });

  it('rows-shifted are neighbours, but for the one at the end that has none', async () => {
    const right = await logitsOf(model, ids);
    const next = (await saved('rows-shifted (the next)')).get('logits')!.values;
    expectSameBits(next.subarray(0, (TOKENS - 1) * width), right.subarray(width));
    const before = (await saved('rows-shifted (the one before)')).get('logits')!.values;
    expectSameBits(before.subarray(width), right.subarray(0, (TOKENS - 1) * width));
    expectSameBits(before.subarray(0, width), right.subarray(0, width));
  });

  it('logits-scaled are divided by the temperature', async () => {
    const [right, hot] = [await logitsOf(model, ids), (await saved('logits-scaled (temperature 0.7)')).get('logits')!];
    expectSameBits(
      hot.values,
      right.map((value) => value / 0.7),
    );
  });
});

describe('a quantised cache', () => {
  const logits = (own: Awaited<ReturnType<typeof computed>>) => own.points.get('logits')!.values;

  it('kv-nibbles-swapped is what bytes of exchanged halves decode to', async () => {
    const model = lawModel('tiny-llama-rope3-f16', { kvDtype: 'int4' });
    const ids = lawIds(model, TOKENS);
    const attend = model.components.kernel.attend;
    const swapping = withKernel(model, {
      ...model.components.kernel,
      async attend(calls, scratch) {
        const arrays = [...new Set(calls.flatMap(codesOf))];
        const turn = () => {
          for (const bytes of arrays) for (let i = 0; i < bytes.length; i++) bytes[i] = ((bytes[i]! & 15) << 4) | (bytes[i]! >> 4); // biome-ignore format: one thought
        };
        expect(arrays).toHaveLength(2); // keys and values
        turn();
        await attend(calls, scratch);
        turn();
      },
    });
    const expected = await logitsOf(swapping, ids);
    expectSameBits(logits(await computed(model, variant(model, 'kv-nibbles-swapped'), ids)), expected);
    expect(logits(await computed(model, {}, ids))).not.toEqual(expected);
  });

  it('kv-scale-axis reads codes with the scales of the first token', async () => {
    const model = lawModel('tiny-llama-rope3-f16', { kvDtype: 'int8' });
    const ids = lawIds(model, TOKENS);
    const attend = model.components.kernel.attend;
    const first = withKernel(model, {
      ...model.components.kernel,
      async attend(calls, scratch) {
        const restore: (() => void)[] = [];
        for (const { stored } of calls.flatMap(({ blocks }) => blocks)) {
          for (const [i] of stored!.store.kind.streams.entries()) {
            const [, scales] = stored!.store.arraysOf(i) as unknown as [unknown, Float32Array | Uint16Array];
            const [own, groups] = [scales.slice(), stored!.store.kind.streams[i]!.heads];
            for (let at = groups; at < scales.length; at++) scales[at] = scales[at % groups]!;
            restore.push(() => scales.set(own));
          }
        }
        await attend(calls, scratch);
        for (const put of restore) put();
      },
    });
    const [found, expected] = [
      logits(await computed(model, variant(model, 'kv-scale-axis (one for all)'), ids)),
      await logitsOf(first, ids),
    ];
    const right = logits(await computed(model, {}, ids));
    const far = (a: Floats, b: Floats) => Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i]!)));
    expect(far(found, expected)).toBeLessThan(1e-4);
    expect(far(found, right)).toBeGreaterThan(1e-2);
  });

  it('kv-fp8-unsaturated becomes NaN where a value reached the largest', async () => {
    const amax = [0, 1].map(() => ({ keys: [0.1, 0.1], values: [0.1, 0.1] })); // of rows that are larger
    const model = lawModel('tiny-llama-rope3-f16', { kvDtype: { dtype: 'fp8_e4m3', scale: 'tensor', amax } });
    const ids = lawIds(model, TOKENS);
    expect(
      logits(await computed(model, variant(model, 'kv-fp8-unsaturated'), ids)).some((value) => Number.isNaN(value)),
    ).toBe(true);
    const calm = lawModel('tiny-llama-rope3-f16', { kvDtype: 'fp8_e4m3' });
    const own = logits(await computed(calm, variant(calm, 'kv-fp8-unsaturated'), ids));
    expectSameBits(own, logits(await computed(calm, {}, ids)));
  });
});

/** The packed codes of each stream that a call reads. */
function codesOf({ blocks }: AttentionCall): Uint8Array[] {
  return blocks.flatMap(({ stored }) =>
    stored!.store.kind.streams.map((_, i) => stored!.store.arraysOf(i)[0] as unknown as Uint8Array),
  );
}
