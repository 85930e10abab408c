/** Every family: the same bits in one pass, in chunks, with any strategy and cache that promise them; and near with the others. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModel } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { relationOf } from '../../src/reference/lattice.js';
import { flat, type Precision } from '../../src/tensor/tensor.js';
import { expectSameBits } from '../support/bits.js';
import { copyOf, editJson } from '../support/checkpoint.js';
import { FAMILY_CHECKPOINTS, fixture, goldenOptions } from '../support/fixtures.js';
import { distance, exactOnes, logitsOf, refusalOf, textbook, withChoice } from './cases.js';

describe.each(FAMILY_CHECKPOINTS)('%s', (name) => {
  const load = (precision: Precision) => loadModel(fixture(name), { ...goldenOptions(name), precision });
  const model = load('float32');
  /** More than a window, and several pages. */
  const ids = Array.from({ length: 40 }, (_, i) => (i * 37 + 11) % model.config.vocabulary);

  it.each<Precision>(['float32', 'float64'])(
    'cached = uncached = chunked in %s, with any strategy',
    async (precision) => {
      const whole = precision === 'float32' ? model : load(precision);
      const expected = await logitsOf(whole, ids, ids.length);
      const ones = precision === 'float32' ? exactOnes(whole) : [whole, withChoice(whole, { cache: 'none' })];
      for (const [i, one] of ones.entries()) {
        expectSameBits(await logitsOf(one, ids, [1, 7, 16][i % 3]!), expected, JSON.stringify(one.components.chosen));
      }
    },
  );

  it('has the same bits in pages as in one block where rows are integers, and others than in floats', async () => {
    const kvDtype = { dtype: 'int8', keys: 'channel', group: 4, residual: 8 } as const;
    const whole = await logitsOf(withChoice(model, { kvDtype }), ids, ids.length);
    expectSameBits(await logitsOf(withChoice(model, { kvDtype, cache: 'paged' }), ids, 7), whole);
    expect(distance(whole, await logitsOf(model, ids, ids.length))).toBeGreaterThan(1e3);
  });

  it('counts positions in the cache to the same end where nothing is forgotten, or is refused', async () => {
    const wide = load('float64');
    const choice = { ...textbook({ visibility: { kind: 'causal' }, positions: 'in-cache' }) };
    const everywhere = wide.config.layers.every(({ attention }) => attention.rope);
    expect(refusalOf(wide, choice) === null).toBe(everywhere);
    if (!everywhere) return;
    const [found, expected] = [withChoice(wide, choice), withChoice(wide, { ...choice, positions: 'absolute' })];
    const apart = distance(await logitsOf(found, ids, 7), await logitsOf(expected, ids, ids.length));
    expect(apart * 2 ** -24).toBeLessThan(1e-11);
  });

  it('a sequence beside another, further on in its own text, has the bits it has alone', async () => {
    const [first, second] = [model.components.newCache(), model.components.newCache()];
    const pass = (a: number[], b: number[]) =>
      forward(
        model,
        [
          { ids: a, cache: first },
          { ids: b, cache: second },
        ],
        { logits: 'all' },
      );
    await pass(ids.slice(0, 3), ids.slice(0, 30));
    const both = flat(await pass(ids.slice(3, 9), ids.slice(30)));
    const alone = await logitsOf(model, ids, ids.length);
    const rows = (from: number, to: number) => [
      ...alone.subarray(from * model.config.vocabulary, to * model.config.vocabulary),
    ];
    expectSameBits(both, Float32Array.from([...rows(3, 9), ...rows(30, 40)]));
  });

  it('is near with another kernel, and with the other form of a latent', async () => {
    const plain = textbook({ visibility: 'auto', positions: 'absolute' });
    const expected = await logitsOf(model, ids, ids.length);
    const latent = model.config.layers[0]!.attention.kind === 'latent';
    const others = [
      { ...plain, kernel: 'flash' as const },
      ...(latent ? [{ ...plain, attention: 'mla-naive' as const }] : []),
    ];
    for (const choice of others) {
      const relation = relationOf(choice, plain, model.config, ids.length);
      expect(relation.kind).toBe('reordered');
      const apart = distance(await logitsOf(withChoice(model, choice), ids, 9), expected);
      expect(apart).toBeGreaterThan(0);
      expect(apart).toBeLessThanOrEqual(relation.kind === 'reordered' ? relation.bound : 0);
    }
  });
});

it('queries and keys that are normed after rope are normed too where they are rotated by slot', async () => {
  const folder = copyOf('families/llama4-text');
  // The fixture has layers without rope, which cannot be rotated by slot.
  editJson(join(folder, 'config.json'), (config) => ({ ...config, no_rope_layers: [1, 1, 1, 1] }));
  const model = loadModel(folder);
  const ids = Array.from({ length: 40 }, (_, i) => (i * 37 + 11) % model.config.vocabulary);
  const rotated = withChoice(model, { positions: 'in-cache' });
  expect(distance(await logitsOf(rotated, ids, 9), await logitsOf(model, ids, 9))).toBeLessThan(1000);
});
