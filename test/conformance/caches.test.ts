/** What every cache promises, on streams made by hand: no model, no weights. */
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type KvCache, trim } from '../../attention/cache/cache.js';
import { contentsOf } from '../../attention/cache/contents.js';
import { ContiguousStore } from '../../attention/cache/contiguous.js';
import { CACHES, type CacheName } from '../../attention/cache/index.js';
import { LayeredCache } from '../../attention/cache/layered.js';
import { consecutive, type LayerSchema, type Retention, type StreamSchema } from '../../attention/streams.js';
import { sinksAndWindow } from '../../attention/visibility/sinks.js';
import { sliding } from '../../attention/visibility/sliding.js';
import { RequestError } from '../../src/errors.js';
import { flat, type Precision, tensor } from '../../src/tensor/tensor.js';
import { keepsAll, problem, rowsBetween, SIZES, shapes, single } from '../support/streams.js';

const caches = Object.keys(CACHES) as CacheName[];
const keys: StreamSchema = { name: 'keys', heads: 1, dim: 1 };

/** A ring needs a window; here one that is longer than any sequence. */
function layersOf(name: CacheName, streams: readonly StreamSchema[], retention?: Retention): LayerSchema[] {
  const all = name === 'ring' ? sliding(1000) : keepsAll;
  return [0, 1].map(() => ({ streams, retention: retention ?? all }));
}

function make(
  name: CacheName,
  streams: readonly StreamSchema[],
  dtype: Precision = 'float32',
  precision: Precision = 'float32',
): KvCache {
  return CACHES[name]({ layers: layersOf(name, streams), precision, dtype }, SIZES).newCache();
}

/** Feeds values to both layers, one a token, each its own id. */
function append(cache: KvCache, values: readonly number[]): void {
  cache.begin(consecutive(cache.next, values.length), values);
  for (const layer of [0, 1]) {
    cache.write(layer, {
      keys: tensor(
        Float32Array.from(values, (x) => x + layer / 2),
        [values.length, 1, 1],
      ),
    });
  }
  cache.commit();
}

/** What a layer holds: [position, value]. */
function held(cache: KvCache, layer = 0): [number, number][] {
  return cache.blocks(layer).flatMap((block) => {
    const values = flat(block.read('keys'));
    return [...block.positions].map((position, i): [number, number] => [position, values[i]!]);
  });
}

const state = (cache: KvCache) => [cache.next, [...cache.ids], held(cache), held(cache, 1), cache.bytes()];

describe.each(caches)('cache %s', (name) => {
  test.prop([shapes, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 })])(
    'reads back what was written, with its positions, however it was appended',
    (shape, sizes) => {
      const { rows, streams } = problem(shape, single);
      const cache = make(name, streams);
      for (let i = 0, end = 0; end < shape.T; i++) {
        const from = cache.next;
        end = Math.min(end + sizes[i % sizes.length]!, shape.T);
        const positions = consecutive(from, end - from);
        cache.begin(positions, [...positions]);
        for (const layer of [0, 1]) {
          cache.write(layer, rowsBetween(rows, from, end));
          const blocks = cache.blocks(layer);
          expect(blocks.flatMap((block) => [...block.positions])).toEqual(Array.from({ length: end }, (_, j) => j));
          for (const { name: stream, heads, dim } of streams) {
            const read = blocks.flatMap((block) => [...flat(block.read(stream))]);
            expect(read).toEqual([...flat(rows[stream]!).subarray(0, end * heads * dim)]);
          }
        }
        cache.commit();
        expect([...cache.ids]).toEqual(Array.from({ length: cache.next }, (_, j) => j));
        for (const layer of [0, 1]) {
          const kept = cache.blocks(layer).flatMap((block) => [...block.positions]);
          expect(kept).toEqual(Array.from({ length: cache.next }, (_, j) => j));
        }
        const { used, allocated } = cache.bytes();
        expect(used).toBe(cache.next * 2 * shape.G * (shape.K + shape.V) * 4);
        expect(allocated).toBeGreaterThanOrEqual(used);
      }
    },
  );

  it('widens what it stores in another dtype than is computed in', () => {
    const cache = make(name, [{ ...keys, dim: 2 }], 'float32', 'float64');
    cache.begin(Int32Array.of(0), [7]);
    cache.write(0, { keys: tensor(Float64Array.of(0.1, 1), [1, 1, 2]) });
    expect([...flat(cache.blocks(0)[0]!.read('keys'))]).toEqual([Math.fround(0.1), 1]);
    expect(cache.blocks(0)[0]!.read('keys').data).toBeInstanceOf(Float64Array);
  });

  it('refuses streams of another shape, missing ones, and ones it does not hold', () => {
    const cache = make(name, [{ ...keys, dim: 2 }]);
    cache.begin(Int32Array.of(0), [7]);
    expect(() => cache.write(0, { keys: tensor(new Float32Array(3), [1, 1, 3]) })).toThrow(
      'keys: expected T = 1 (new tokens), G = 1 (key/value heads), K = 2',
    );
    expect(() => cache.write(0, { keys: tensor(new Float32Array(0), [0, 1, 2]) })).toThrow('expected rows of 1 tokens');
    expect(() => cache.write(0, {})).toThrow("stores a stream 'keys'");
    cache.write(0, { keys: tensor(new Float32Array(2), [1, 1, 2]) });
    expect(() => cache.blocks(0)[0]!.read('values')).toThrow("holds no stream 'values', only keys");
  });

  it('refuses positions that do not follow, and changes nothing', () => {
    const cache = make(name, [keys]);
    append(cache, [5, 6]);
    const before = state(cache);
    const follow = `goes on at position ${cache.next} cannot take a token at`;
    expect(() => cache.begin(Int32Array.of(cache.next + 1), [7])).toThrow(follow);
    expect(() => cache.begin(Int32Array.of(cache.next, cache.next + 2), [7, 8])).toThrow(follow);
    expect(() => cache.begin(Int32Array.of(cache.next), [7, 8])).toThrow('1 positions were begun, and 2 tokens');
    expect(state(cache)).toEqual(before);
  });

  it('takes one pass at a time', () => {
    const cache = make(name, [keys]);
    cache.begin(Int32Array.of(0), [7]);
    for (const act of [
      () => cache.begin(Int32Array.of(0), [7]),
      () => cache.rollback(0),
      () => cache.fork(),
      () => cache.release(),
    ]) {
      expect(act).toThrow('A pass is under way on this cache');
    }
    cache.abort();
    cache.begin(Int32Array.of(0), [7]);
  });

  it('is as it was when a pass is aborted', () => {
    const cache = make(name, [keys]);
    append(cache, [1, 2, 3]);
    const before = state(cache).slice(0, 4);
    cache.begin(consecutive(cache.next, 2), [8, 9]);
    for (const layer of [0, 1]) cache.write(layer, { keys: tensor(Float32Array.of(8, 9), [2, 1, 1]) });
    cache.abort();
    expect(state(cache).slice(0, 4)).toEqual(before);
  });

  it('holds nothing more once it is released', () => {
    const cache = make(name, [keys]);
    append(cache, [1, 2, 3, 4, 5]);
    cache.release();
    expect([cache.next, [...cache.ids], held(cache), cache.bytes().used]).toEqual([0, [], [], 0]);
    append(cache, [9]);
    expect(held(cache)).toEqual(name === 'none' ? [] : [[0, 9]]);
  });
});

describe.each(caches.filter((name) => name !== 'none'))('cache %s, which keeps rows,', (name) => {
  it('goes back, returns exactly what it removed, and goes on from there', () => {
    const cache = make(name, [keys]);
    append(cache, [1, 2, 3, 4, 5, 6, 7]);
    expect([...cache.rollback(5)]).toEqual([5, 6]);
    expect([...trim(cache, 2)]).toEqual([3, 4]);
    expect([...cache.rollback(3)]).toEqual([]);
    append(cache, [9, 10]);
    expect([...cache.ids]).toEqual([1, 2, 3, 9, 10]);
    expect(held(cache, 1)).toEqual([1, 2, 3, 9, 10].map((x, i) => [i, x + 0.5]));
    expect(() => cache.rollback(6)).toThrow('goes on at position 5 cannot go back to 6');
    expect(() => trim(cache, 6)).toThrow('Cannot take 6 tokens from a cache that holds 5');
  });

  it('forks into two that go their own ways', () => {
    const cache = make(name, [keys]);
    append(cache, [1, 2, 3, 4, 5]);
    const other = cache.fork();
    append(cache, [6]);
    append(other, [7, 8]);
    expect(held(cache).map(([, value]) => value)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(held(other).map(([, value]) => value)).toEqual([1, 2, 3, 4, 5, 7, 8]);
    cache.release();
    expect(held(other).map(([, value]) => value)).toEqual([1, 2, 3, 4, 5, 7, 8]);
  });

  it('gives its contents to every other cache that keeps rows', () => {
    const cache = make(name, [keys]);
    append(cache, [1, 2, 3, 4, 5]);
    const contents = contentsOf(cache, layersOf(name, [keys]), 'float32');
    for (const other of caches) {
      const target = make(other, [keys]);
      if (other === 'none') {
        expect(() => target.restore(contents)).toThrow('keeps nothing');
        continue;
      }
      target.restore(contents);
      append(target, [6]);
      expect(held(target, 1)).toEqual([1, 2, 3, 4, 5, 6].map((x, i) => [i, x + 0.5]));
      expect(() => target.restore(contents)).toThrow('Expected an empty cache');
    }
  });
});

describe('a ring', () => {
  const ring = (retention: Retention) =>
    CACHES.ring({ layers: layersOf('ring', [keys], retention), precision: 'float32', dtype: 'float32' }).newCache();
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

  it('holds the window and the sinks, each at its position, whatever was fed at once', () => {
    for (const chunk of [1, 2, 5, 100]) {
      const cache = ring(sinksAndWindow(2, 4));
      for (let from = 0; from < 23; from += chunk) append(cache, numbers(23).slice(from, from + chunk));
      expect(held(cache)).toEqual([0, 1, 19, 20, 21, 22].map((x) => [x, x]));
      expect(cache.bytes()).toMatchObject({ used: 2 * 6 * 4 });
    }
  });

  it('shows a pass the rows that it will overwrite', () => {
    const cache = ring(sliding(3));
    append(cache, numbers(5));
    cache.begin(consecutive(5, 4), [5, 6, 7, 8]);
    cache.write(0, { keys: tensor(Float32Array.of(5, 6, 7, 8), [4, 1, 1]) });
    expect(held(cache)).toEqual([2, 3, 4, 5, 6, 7, 8].map((x) => [x, x]));
  });

  it('goes back by one token, or to where nothing lost is seen, and refuses the rest', () => {
    const cache = ring(sliding(3));
    append(cache, numbers(9));
    expect([...cache.rollback(8)]).toEqual([8]);
    expect(() => cache.rollback(7)).toThrow(
      'cannot go back from position 8 to 7: a token there sees position 5, and the ring of 3 goes back to 6 only',
    );
    append(cache, [20]);
    expect(held(cache)).toEqual([[6, 6], [7, 7], [8, 20]]); // biome-ignore format: a list
    expect([...cache.rollback(0)]).toEqual(numbers(9));
    append(cache, [7]);
    expect(held(cache)).toEqual([[0, 7]]);
  });

  it('keeps everything in layers without a window, and is refused where no layer has one', () => {
    const layers = [sliding(2), keepsAll].map((retention) => ({ streams: [keys], retention }));
    const options = { layers, precision: 'float32', dtype: 'float32' } as const;
    const cache = CACHES.ring(options).newCache();
    append(cache, numbers(5));
    expect([held(cache, 0).length, held(cache, 1).length]).toEqual([2, 5]);
    expect(() => CACHES.ring({ ...options, layers: [layers[1]!] })).toThrow('Cache ring: it keeps what a window');
  });

  it('gives its contents to a ring, and to no cache that keeps everything', () => {
    const cache = ring(sinksAndWindow(1, 3));
    append(cache, numbers(9));
    const contents = contentsOf(cache, layersOf('ring', [keys], sinksAndWindow(1, 3)), 'float32');
    const same = ring(sinksAndWindow(1, 3));
    same.restore(contents);
    append(cache, [9]);
    append(same, [9]);
    expect(state(same)).toEqual(state(cache));
    for (const name of ['contiguous', 'paged'] as const) {
      const target = make(name, [keys]);
      expect(() => target.restore(contents)).toThrow('of the 9 saved ones only 4 have rows');
      expect(target.next).toBe(0);
    }
    expect(() => ring(sinksAndWindow(1, 5)).restore(contents)).toThrow('has no row for position 5');
    expect(() => ring(sinksAndWindow(2, 3)).restore(contents)).toThrow('has no row for position 1');
  });
});

describe('a restore that fails', () => {
  const contents = (bad: number) => ({
    ids: Int32Array.of(1, 2, 3),
    layers: [0, 1].map((layer) => {
      const positions = layer === bad ? Int32Array.of(2) : Int32Array.of(0, 1, 2);
      return { positions, rows: new Map([['keys', new Float32Array(positions.length)]]) };
    }),
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
    const short = { positions: layers[1]!.positions, rows: new Map([['keys', new Float32Array(2)]]) };
    expect(() => cache.restore({ ids, layers: [layers[0]!, short] })).toThrow('needs 3 values, got 2');
    expect([cache.next, source.pool!.used]).toEqual([0, 0]);
    append(cache, [7]);
  });
});

describe('memory that cannot be had', () => {
  const options = { layers: [], precision: 'float32', dtype: 'float32' } as const;
  const two = { streams: [keys, { ...keys, name: 'values' }], retention: keepsAll };

  /** Lets the allocation after `count` others fail. */
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

it('a ring takes no more memory than its text needs, and none for a long pass once that is over', () => {
  const layers = layersOf('ring', [keys], sliding(1_000_000_000));
  const cache = CACHES.ring({ layers, precision: 'float32', dtype: 'float32' }).newCache();
  append(cache, [1, 2, 3]);
  expect(cache.bytes().allocated).toBeLessThanOrEqual(2 * 4 * (16 + 3));
  const small = CACHES.ring({ layers: layersOf('ring', [keys], sliding(4)), precision: 'float32', dtype: 'float32' });
  const ring = small.newCache();
  append(ring, Array(500).fill(1));
  expect(ring.bytes()).toEqual({ used: 2 * 4 * 4, allocated: 2 * 4 * 4 });
});

it('what forks take together is counted once, by the fullest of those that share a page', () => {
  const source = CACHES.paged({ layers: layersOf('paged', [keys]), precision: 'float32', dtype: 'float32' }, SIZES);
  const long = source.newCache();
  append(long, [1, 2, 3, 4, 5, 6, 7]);
  const short = long.fork();
  short.rollback(5);
  const token = 2 * 4;
  expect(source.bytes([long, short])).toEqual({ used: 7 * token, allocated: 8 * token });
  expect(source.bytes([short, long])).toEqual({ used: 7 * token, allocated: 8 * token });
  append(short, [9]); // a copy of the second page
  expect(source.bytes([long, short])).toEqual({ used: 9 * token, allocated: 12 * token });
});

it('a preallocated cache holds as many tokens as it was made for, and says so', () => {
  const cache = make('preallocated', [keys]);
  expect(cache.bytes()).toEqual({ used: 0, allocated: 2 * 200 * 4 });
  append(cache, Array<number>(200).fill(1));
  const before = state(cache);
  expect(() => cache.begin(Int32Array.of(200), [1])).toThrow('preallocated for 200 tokens, and 201 are needed');
  expect(state(cache)).toEqual(before);
});

it('a cache whose second layer has no room gives back what the first began', () => {
  const options = { layers: [], precision: 'float32', dtype: 'float32' } as const;
  const stores = [5, 2].map((tokens) => new ContiguousStore({ streams: [keys], retention: keepsAll }, options, tokens));
  const cache = new LayeredCache(stores);
  expect(() => cache.begin(consecutive(0, 3), [1, 2, 3])).toThrow('preallocated for 2 tokens, and 3 are needed');
  expect([held(cache, 0), held(cache, 1)]).toEqual([[], []]);
  append(cache, [1, 2]);
  expect(held(cache)).toEqual([[0, 1], [1, 2]]); // biome-ignore format: a list
});
