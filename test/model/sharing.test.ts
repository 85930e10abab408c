/** Guarantee: pages of any size, shared beginnings, forks and batch mates change no bit of a logit. */
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KvCache } from '../../attention/cache/cache.js';
import { type KvConfig, type KvDtype, kvFormat } from '../../attention/cache/codec/format.js';
import { HashIndex } from '../../attention/cache/hash-index.js';
import { PagePool } from '../../attention/cache/page-pool.js';
import { PagedCache } from '../../attention/cache/paged.js';
import { feed } from '../../src/generate/generate.js';
import { DEFAULT_OPTIONS, type RunOptions } from '../../src/model/components.js';
import { assemble, loadModel, type Model } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { type Floats, flat, rowsOf } from '../../src/tensor/tensor.js';
import { expectSameBits } from '../support/bits.js';
import { fixture } from '../support/fixtures.js';

const NAMES = ['tiny-llama-rope3-f16', 'tiny-deepseek-v3-bf16', 'tiny-gpt-oss-bf16'];
const FORMS: readonly (KvDtype | KvConfig)[] = [
  'float32',
  'bfloat16',
  'int4',
  { dtype: 'int8', zero: 'affine', residual: 6 },
  { dtype: 'int4', zero: 'affine', keys: 'channel', group: 4, residual: 8 },
];
const ids = (most: number) => fc.array(fc.nat(255), { minLength: 1, maxLength: most });

async function plain(model: Model, tokens: readonly number[]): Promise<Floats> {
  const { components } = changed(model, { kvDtype: model.options.kvDtype });
  return flat(await forward(model, [{ ids: tokens, cache: components.newCache() }], { logits: 'all' }));
}

function changed(model: Model, options: Partial<RunOptions>): Model {
  const all = { ...DEFAULT_OPTIONS, cacheTokens: model.config.context, ...options };
  return assemble(model.config, model.weights, all, model.files);
}

/** Feeds what a cache does not hold yet, and expects the bits of the sequence alone. */
async function expectPlain(model: Model, tokens: readonly number[], cache: KvCache, chunk: number): Promise<void> {
  const from = cache.next;
  const found = flat(await feed(model, tokens, cache, { from, chunk, logits: 'all' }));
  expectSameBits(found, (await plain(model, tokens)).slice(from * model.config.vocabulary));
}

describe.each(NAMES)('%s', (name) => {
  const loaded = loadModel(fixture(name));

  test.prop(
    [
      fc.constantFrom('paged', 'prefix', 'radix'),
      fc.constantFrom(...FORMS),
      fc.integer({ min: 1, max: 64 }),
      ids(40),
      ids(12),
      ids(12),
      fc.integer({ min: 1, max: 20 }),
    ],
    { numRuns: 40 },
  )(
    'gives one sequence, one that begins alike, and a fork of it their own bits',
    async (cache, kvDtype, size, common, a, b, chunk) => {
      const { alignment, residual } = kvFormat(kvDtype);
      const pageSize = size * alignment;
      const whole = (tokens: number) => {
        const pages = Math.floor(tokens / pageSize) * pageSize;
        return residual === 0 ? pages : Math.floor(pages / residual) * residual;
      };
      const model = changed(loaded, { cache, pageSize, kvDtype });
      const { newCache, caches } = model.components;
      const first = newCache();
      await expectPlain(model, [...common, ...a], first, chunk);
      const second = newCache();
      const known = second.adopt([...common, ...b].slice(0, -1));
      if (cache === 'paged') expect(known).toBe(0);
      else {
        expect(known).toBeLessThanOrEqual(whole(common.length + Math.min(b.length - 1, a.length)));
        // the last block of a sequence is handed over a token late, and only what was handed over is paged
        const handedOver = residual === 0 ? common.length - 1 : Math.floor((common.length - 1) / residual) * residual;
        expect(known).toBeGreaterThanOrEqual(whole(handedOver));
      }
      await expectPlain(model, [...common, ...b], second, chunk);
      const third = second.fork();
      await expectPlain(model, [...common, ...b, ...a], second, chunk);
      await expectPlain(model, [...common, ...b, 3, 2, 1], third, chunk);
      const back = residual === 0 ? common.length : Math.floor(common.length / residual) * residual;
      second.rollback(back);
      await expectPlain(model, [...common.slice(0, back), 9, 9], second, chunk);
      for (const one of [first, second, third]) one.release();
      while (caches.index?.evict());
      expect(caches.pool!.used).toBe(0);
    },
  );

  test.prop([fc.array(ids(20), { minLength: 2, maxLength: 4 }), ids(3), fc.integer({ min: 1, max: 9 })], {
    numRuns: 10,
  })(
    'gives each of several sequences in one pass, over one pool, the bits it has alone',
    async (prompts, more, pageSize) => {
      const model = changed(loaded, { cache: 'radix', pageSize });
      const caches = prompts.map(() => model.components.newCache());
      await forward(
        model,
        prompts.map((tokens, i) => ({ ids: tokens, cache: caches[i]! })),
      );
      const next = prompts.map((_, i) => ({ ids: more, cache: caches[i]! }));
      const found = await forward(model, next, { logits: 'all' });
      for (const [i, tokens] of prompts.entries()) {
        const own = flat(rowsOf(found, i * more.length, (i + 1) * more.length));
        expectSameBits(own, (await plain(model, [...tokens, ...more])).slice(-own.length));
      }
    },
  );
});

describe('a hash of page contents', () => {
  const model = changed(loadModel(fixture(NAMES[0]!)), {});
  const make = (hash: () => number) => {
    const { schemas } = model.components;
    const pool = new PagePool({ layers: schemas, precision: 'float32', dtype: 'float32' }, 4);
    const index = new HashIndex(pool, hash);
    return { newCache: () => new PagedCache(pool, index), index };
  };

  it('that is the same for everything gives no wrong row, since tokens are compared', async () => {
    const { newCache, index } = make(() => 7);
    const texts = [
      [1, 2, 3, 4, 5, 6, 7, 8, 9],
      [1, 2, 3, 4, 9, 9, 9, 9, 9],
      [5, 6, 7, 8, 1, 2, 3, 4, 9], // the pages of the first, the other way round
      [5, 6, 7, 8, 5, 6, 7, 8, 9], // its second page, where its first would stand
      [1, 2, 3, 4, 5, 6, 7, 8, 1],
    ];
    const known: number[] = [];
    for (const tokens of texts) {
      const cache = newCache();
      known.push(cache.adopt(tokens.slice(0, -1)));
      await expectPlain(model, tokens, cache, 3);
    }
    expect(known).toEqual([0, 4, 0, 4, 8]);
    expect(index.size).toBe(2 + 1 + 2 + 1);
  });

  it('finds a page only behind the page that it followed', async () => {
    const { newCache } = make(() => 7);
    await expectPlain(model, [1, 1, 1, 1, 2, 2, 2, 2, 3], newCache(), 9);
    const cache = newCache();
    expect(cache.adopt([2, 2, 2, 2])).toBe(0);
    await expectPlain(model, [2, 2, 2, 2, 2, 2, 2, 2, 3], cache, 9);
  });
});

it('a pass whose second sequence has no room lets no known page go', async () => {
  const model = changed(loadModel(fixture(NAMES[0]!)), { cache: 'radix', pageSize: 4, poolPages: 8 });
  const { newCache, caches } = model.components;
  const over = newCache();
  await expectPlain(model, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], over, 99);
  over.release();
  const pass = [6, 4].map((pages) => ({ ids: Array(4 * pages).fill(1), cache: newCache() }));
  await expect(forward(model, pass)).rejects.toThrow('10 more pages of 4 tokens are needed');
  expect([caches.index!.size, caches.pool!.used]).toEqual([4, 4]);
  await forward(model, [pass[0]!]);
  expect(caches.index!.size).toBe(2 + 6);
});

it('a request larger than the pool is refused at once, and what was there stays', async () => {
  const model = changed(loadModel(fixture(NAMES[0]!)), { cache: 'radix', pageSize: 4, poolPages: 5 });
  const cache = model.components.newCache();
  await expectPlain(model, [1, 2, 3, 4, 5, 6, 7, 8, 9], cache, 9);
  const other = model.components.newCache();
  await expect(forward(model, [{ ids: Array(12).fill(1), cache: other }])).rejects.toThrow(
    '3 more pages of 4 tokens are needed, and of 5 all but 2 are in use',
  );
  expect(model.components.caches.pool!.used).toBe(3);
  await expectPlain(model, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], cache, 9);
});
