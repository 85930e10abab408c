/** What every cache promises, on streams made by hand: no model, no weights. */
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { trim } from '../../attention/cache/cache.js';
import { CACHES } from '../../attention/cache/index.js';
import { consecutive } from '../../attention/streams.js';
import { flat, tensor } from '../../src/tensor/tensor.js';
import { append, caches, held, keys, layersOf, make, state } from '../support/cache-rows.js';
import { problem, rowsBetween, SIZES, shapes, single } from '../support/streams.js';

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
    const contents = cache.contents();
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
