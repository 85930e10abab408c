/** What a cache will take, by arithmetic, against what running caches say that they take. */
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CacheOptions } from '../../attention/cache/cache.js';
import type { KvConfig } from '../../attention/cache/codec/format.js';
import { CACHES, type CacheName } from '../../attention/cache/index.js';
import { idealBytes, idealLayers, plannedBytes } from '../../attention/cache/plan.js';
import { consecutive, type LayerSchema } from '../../attention/streams.js';
import { type VisibilityConfig, visibilityOf } from '../../attention/visibility/index.js';
import { caches } from '../support/cache-rows.js';
import { fed } from '../support/fed.js';

const rules = fc.oneof(
  fc.constant<VisibilityConfig>({ kind: 'causal' }),
  fc.record({ kind: fc.constant('sliding' as const), window: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ kind: fc.constant('chunked' as const), chunk: fc.integer({ min: 1, max: 60 }) }),
  fc.record({
    kind: fc.constant('sinks' as const),
    sinks: fc.integer({ min: 1, max: 20 }),
    window: fc.integer({ min: 1, max: 40 }),
  }),
);

const streams = fc
  .record({
    heads: fc.integer({ min: 1, max: 2 }),
    key: fc.integer({ min: 1, max: 5 }),
    value: fc.integer({ min: 1, max: 5 }),
  })
  .map(({ heads, key, value }) => [
    { name: 'keys', heads, dim: key, key: true },
    { name: 'values', heads, dim: value, key: false },
  ]);

/** Every kind of format: floats, fp8, integers by token and by channel, with a residual and without. */
const formats: fc.Arbitrary<KvConfig> = fc.oneof(
  fc
    .constantFrom('float32', 'float64', 'float16', 'bfloat16', 'fp8_e4m3', 'fp8_e5m2')
    .map((dtype) => ({ dtype }) as KvConfig),
  fc
    .record({
      dtype: fc.constantFrom('int8', 'int4'),
      zero: fc.constantFrom('symmetric', 'affine'),
      scaleDtype: fc.constantFrom('float16', 'float32'),
      keys: fc.constantFrom('token', 'channel'),
      group: fc.integer({ min: 1, max: 6 }),
      blocks: fc.integer({ min: 0, max: 5 }),
    })
    .map(({ blocks, ...config }) => {
      const residual = config.group * (config.keys === 'channel' ? Math.max(blocks, 1) : blocks);
      return { ...config, residual } as KvConfig;
    }),
);

interface Case {
  readonly options: CacheOptions;
  readonly sizes: { cacheTokens: number; pageSize: number; poolPages: number };
  readonly tokens: number;
  readonly prompt: number;
}

/** Pages hold whole groups, and a ring has a layer with a window: what is refused has a test of its own. */
function cases(cache: CacheName): fc.Arbitrary<Case> {
  return fc
    .record({
      first: cache === 'ring' ? rules.filter(({ kind }) => kind !== 'causal') : rules,
      others: fc.array(fc.tuple(rules, streams), { maxLength: 2 }),
      streams,
      dtype: formats,
      precision: fc.constantFrom('float32' as const, 'float64' as const),
      pages: fc.integer({ min: 1, max: 5 }),
      spare: fc.integer({ min: 0, max: 60 }),
      tokens: fc.integer({ min: 0, max: 200 }),
      prompt: fc.nat(200),
    })
    .map(({ first, others, streams, dtype, precision, pages, spare, tokens, prompt }) => ({
      options: {
        layers: [[first, streams] as const, ...others].map(
          ([rule, streams]): LayerSchema => ({ streams, retention: visibilityOf(rule) }),
        ),
        precision,
        dtype,
      },
      sizes: {
        cacheTokens: Math.max(tokens + spare, 1),
        pageSize: pages * (dtype.keys === 'channel' ? dtype.group! : 1),
        poolPages: Number.POSITIVE_INFINITY,
      },
      tokens,
      prompt: Math.min(prompt, tokens),
    }));
}

const feedingOf = ({ options: { layers, precision }, tokens, prompt }: Case) => ({ layers, precision, tokens, prompt });

describe.each(caches)('cache %s takes what was planned', (name) => {
  test.prop([cases(name)], { numRuns: 150 })('when tokens come one by one', (given) => {
    const one = { ...given, prompt: 0 };
    const source = CACHES[name](one.options, one.sizes);
    expect(plannedBytes(name, one.options, one.sizes, one)).toEqual(fed(source.newCache(), feedingOf(one)).bytes());
    expect(plannedBytes(name, one.options, one.sizes, { tokens: one.tokens })).toEqual(
      plannedBytes(name, one.options, one.sizes, one),
    );
  });

  test.prop([cases(name)], { numRuns: 150 })('when a prompt comes first', (given) => {
    const source = CACHES[name](given.options, given.sizes);
    const cache = fed(source.newCache(), feedingOf(given));
    const planned = plannedBytes(name, given.options, given.sizes, given);
    expect(planned).toEqual(cache.bytes());
    expect(planned).toEqual(source.bytes([cache]));
  });
});

test.prop([cases('contiguous')])(
  'ideal: exactly the rows that the last token reads, with the scales they need',
  (given) => {
    const { options, tokens } = given;
    const found = idealLayers(options, tokens);
    expect(idealBytes(options, tokens)).toBe(found.reduce((sum, layer) => sum + layer, 0));
    const { dtype: config, layers, precision } = options;
    const { dtype, group = 32, residual = 0, keys, zero, scaleDtype } = config as KvConfig;
    const bits = { float64: 64, float32: 32, float16: 16, bfloat16: 16, fp8_e4m3: 8, fp8_e5m2: 8, int8: 8, int4: 4 };
    const quantised = residual > 0 ? tokens - (tokens % residual) : tokens;
    const scaleBytes = (scaleDtype === 'float32' ? 4 : 2) * (zero === 'affine' ? 2 : 1);
    for (const [layer, { streams, retention }] of layers.entries()) {
      const rule = retention as ReturnType<typeof visibilityOf>;
      const seen = [...consecutive(0, tokens)].filter((key) => rule.sees(tokens - 1, key));
      const stored = seen.filter((key) => key < quantised);
      let bytes = 0;
      for (const { heads, dim, key } of streams) {
        bytes += stored.length * Math.ceil((heads * dim * bits[dtype]) / 8);
        bytes += (seen.length - stored.length) * heads * dim * (precision === 'float64' ? 8 : 4);
        if (dtype !== 'int8' && dtype !== 'int4') continue;
        const byChannel = keys === 'channel' && key;
        const groups = byChannel
          ? new Set(stored.map((position) => Math.floor(position / group))).size * heads * dim
          : stored.length * heads * Math.ceil(dim / group);
        bytes += groups * scaleBytes;
      }
      expect(found[layer]).toBe(bytes);
    }
  },
);

describe('a plan', () => {
  const streams = [{ name: 'keys', heads: 1, dim: 4, key: true }];
  const layers = [{ streams, retention: visibilityOf({ kind: 'causal' }) }];
  const options: CacheOptions = { layers, precision: 'float32', dtype: 'float32' };
  const sizes = { cacheTokens: 10, pageSize: 4, poolPages: 2 };

  it('refuses what the cache would refuse', () => {
    expect(() => plannedBytes('preallocated', options, sizes, { tokens: 11 })).toThrow('preallocated for 10 tokens');
    expect(() => plannedBytes('paged', options, sizes, { tokens: 9 })).toThrow(
      '9 tokens take 3 pages of 4, and the pool has 2',
    );
    expect(() => plannedBytes('ring', options, sizes, { tokens: 1 })).toThrow('Cache ring: it keeps what a window');
    const channel: KvConfig = { dtype: 'int4', keys: 'channel', group: 3, residual: 3 };
    expect(() => plannedBytes('radix', { ...options, dtype: channel }, sizes, { tokens: 1 })).toThrow(
      'Pages of 4 tokens would cut the groups of 3 tokens',
    );
  });

  it('counts the residual of a pool that is too small for all of the tokens, and not for the quantised ones', () => {
    const dtype: KvConfig = { dtype: 'int8', residual: 4 };
    const given = { options: { ...options, dtype }, sizes, tokens: 12, prompt: 0 };
    const cache = fed(CACHES.paged(given.options, sizes).newCache(), feedingOf(given));
    expect(plannedBytes('paged', given.options, sizes, given)).toEqual(cache.bytes());
    expect(() => plannedBytes('paged', given.options, sizes, { tokens: 13 })).toThrow('13 tokens take 3 pages');
    expect(() => cache.begin(Int32Array.of(12), [12])).toThrow('more pages');
  });

  it('has these sizes: the rules of growth are shared with the caches, so they are written down here', () => {
    const slots = (cache: CacheName, given: CacheOptions, fed: { tokens: number; prompt?: number }) =>
      plannedBytes(cache, given, sizes, fed).allocated / 16;
    expect([0, 1, 64, 65, 129].map((tokens) => slots('contiguous', options, { tokens }))).toEqual([
      0, 64, 64, 128, 256,
    ]);
    expect(slots('contiguous', options, { tokens: 101, prompt: 100 })).toBe(200);
    const window = { ...options, layers: [{ streams, retention: visibilityOf({ kind: 'sliding', window: 40 }) }] };
    // the ring, and the rows of the longest pass if they are no more than the ring's
    const ring = (tokens: number, prompt = 0) => slots('ring', window, { tokens, prompt });
    expect([1, 17, 33, 99].map((tokens) => ring(tokens))).toEqual([16 + 1, 32 + 1, 40 + 1, 40 + 1]);
    expect([ring(40, 40), ring(41, 41), ring(42, 41)]).toEqual([40 + 40, 40 + 0, 40 + 1]);
  });

  it('takes no longer for a long context', () => {
    const tokens = 2 ** 40;
    expect(plannedBytes('contiguous', options, sizes, { tokens })).toEqual({
      used: tokens * 16,
      allocated: tokens * 16,
    });
  });
});
