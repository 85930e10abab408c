/** What a cache is after something failed: as it was. */
import { describe, expect, it } from 'vitest';
import { ContiguousStore } from '../../attention/cache/contiguous.js';
import { CACHES } from '../../attention/cache/index.js';
import { newRows, plansOf } from '../../attention/cache/layer-plan.js';
import { LayeredCache } from '../../attention/cache/layered.js';
import { consecutive } from '../../attention/streams.js';
import { sliding } from '../../attention/visibility/sliding.js';
import { RequestError } from '../../src/errors.js';
import { tensor } from '../../src/tensor/tensor.js';
import { append, caches, held, keys, layersOf } from '../support/cache-rows.js';
import { keepsAll, SIZES } from '../support/streams.js';

describe('a restore that fails', () => {
  const [plan] = plansOf({ layers: layersOf('paged', [keys]), precision: 'float32', dtype: 'float32' });
  const contents = (bad: number) => ({
    ids: Int32Array.of(1, 2, 3),
    layers: [0, 1].map((layer) => {
      const positions = layer === bad ? Int32Array.of(2) : Int32Array.of(0, 1, 2);
      return { positions, rows: newRows(plan!, positions.length) };
    }),
    residual: null,
  });

  it.each(caches.filter((name) => name !== 'none'))('leaves the cache %s empty, and fit to be used', (name) => {
    for (const bad of [0, 1]) {
      const layers = layersOf(name, [keys], name === 'ring' ? sliding(3) : keepsAll);
      const source = CACHES[name]({ layers, precision: 'float32', dtype: 'float32' }, SIZES);
      const cache = source.newCache();
      expect(() => cache.restore(contents(bad))).toThrow(/have rows in some layer|has no row for position/);
      expect([cache.next, held(cache, 0), held(cache, 1), source.pool?.used ?? 0]).toEqual([0, [], [], 0]);
      append(cache, [7]);
      expect(held(cache, 1)).toEqual([[0, 7.5]]);
    }
  });

  it('because rows have another shape is undone too', () => {
    const source = CACHES.paged({ layers: layersOf('paged', [keys]), precision: 'float32', dtype: 'float32' }, SIZES);
    const cache = source.newCache();
    const { ids, layers } = contents(-1);
    const { positions } = layers[1]!;
    const [narrow] = plansOf({ layers: layersOf('paged', [keys]), precision: 'float32', dtype: 'float16' });
    for (const [rows, why] of [
      [newRows(plan!, 2), 'Expected rows of 3 tokens, got 2'],
      [newRows(narrow!, 3), 'kept in another form'],
    ] as const) {
      expect(() => cache.restore({ ids, layers: [layers[0]!, { positions, rows }], residual: null })).toThrow(why);
      expect([cache.next, source.pool!.used]).toEqual([0, 0]);
    }
    append(cache, [7]);
  });
});

describe('memory that cannot be had', () => {
  const options = { layers: [], precision: 'float32', dtype: 'float32' } as const;
  const two = { streams: [keys, { ...keys, name: 'values' }], retention: keepsAll };

  /** Lets the allocation of rows after `count` others fail. */
  function failAfter(count: number, act: () => void): void {
    const real = globalThis.Float32Array;
    let left = count;
    const failing = new Proxy(real, {
      construct(target, args) {
        if (left-- === 0) throw new RangeError('Array buffer allocation failed');
        return Reflect.construct(target, args);
      },
    });
    globalThis.Float32Array = failing;
    try {
      act();
    } finally {
      globalThis.Float32Array = real;
    }
  }

  it.each(['contiguous', 'ring', 'paged', 'radix'] as const)(
    'leaves a cache %s as it was, wherever it fails',
    (name) => {
      for (let count = 0; count < 12; count++) {
        const retention = name === 'ring' ? sliding(50) : keepsAll;
        const layers = [two, two].map((layer) => ({ ...layer, retention }));
        const source = CACHES[name]({ ...options, layers }, { ...SIZES, pageSize: 30 });
        const cache = source.newCache();
        const feed = (from: number, values: number[]) => {
          cache.begin(consecutive(from, values.length), values);
          const rows = tensor(Float32Array.from(values), [values.length, 1, 1]);
          for (const layer of [0, 1]) cache.write(layer, { keys: rows, values: rows });
          cache.commit();
        };
        feed(0, [1, 2, 3]);
        const before = [cache.next, held(cache, 0), held(cache, 1), source.pool?.used];
        let failed = false;
        failAfter(count, () => {
          try {
            cache.begin(consecutive(3, 80), Array(80).fill(1));
          } catch (error) {
            failed = true;
            expect(error).toBeInstanceOf(RequestError);
            expect((error as Error).message).toContain('There is no memory for a cache of');
          }
        });
        if (!failed) cache.abort();
        expect([cache.next, held(cache, 0), held(cache, 1), source.pool?.used]).toEqual(before);
        feed(3, [4, 5]);
        expect(held(cache, 1).map(([, value]) => value)).toEqual([1, 2, 3, 4, 5]);
      }
    },
  );
});

it.each(['contiguous', 'ring', 'paged', 'radix'] as const)(
  'a cache %s whose tokens cannot be noted takes no rows',
  (name) => {
    const layers = layersOf(name, [keys], name === 'ring' ? sliding(50) : keepsAll);
    const source = CACHES[name]({ layers, precision: 'float32', dtype: 'float32' }, SIZES);
    const cache = source.newCache();
    append(cache, [1, 2, 3]);
    const real = globalThis.Int32Array;
    const positions = consecutive(3, 200);
    globalThis.Int32Array = new Proxy(real, {
      construct() {
        throw new RangeError('Array buffer allocation failed');
      },
    });
    try {
      expect(() => cache.begin(positions, Array(200).fill(1))).toThrow('allocation failed');
    } finally {
      globalThis.Int32Array = real;
    }
    expect([cache.next, held(cache, 0).length, source.pool?.used]).toEqual([3, 3, source.pool ? 1 : undefined]);
    append(cache, [4]);
    expect(held(cache, 1).map(([, value]) => value)).toEqual([1.5, 2.5, 3.5, 4.5]);
  },
);

it('a cache whose second layer has no room gives back what the first began', () => {
  const options = { layers: [], precision: 'float32', dtype: 'float32' } as const;
  const [plan] = plansOf({ ...options, layers: [{ streams: [keys], retention: keepsAll }] });
  const stores = [5, 2].map((tokens) => new ContiguousStore(plan!, tokens));
  const cache = new LayeredCache(stores);
  expect(() => cache.begin(consecutive(0, 3), [1, 2, 3])).toThrow('preallocated for 2 tokens, and 3 are needed');
  expect([held(cache, 0), held(cache, 1)]).toEqual([[], []]);
  append(cache, [1, 2]);
  expect(held(cache)).toEqual([[0, 1], [1, 2]]); // biome-ignore format: a list
});
