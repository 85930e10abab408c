/** What a ring keeps, shows, and can go back to. */
import { describe, expect, it } from 'vitest';
import { CACHES } from '../../attention/cache/index.js';
import { consecutive, type Retention } from '../../attention/streams.js';
import { sinksAndWindow } from '../../attention/visibility/sinks.js';
import { sliding } from '../../attention/visibility/sliding.js';
import { tensor } from '../../src/tensor/tensor.js';
import { append, held, keys, layersOf, make, state } from '../support/cache-rows.js';
import { keepsAll } from '../support/streams.js';

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

  it('goes back to where a window reaches into the sinks, which are never lost', () => {
    const cache = ring(sinksAndWindow(4, 3));
    append(cache, numbers(7));
    expect([...cache.rollback(6)]).toEqual([6]);
    expect([...cache.rollback(5)]).toEqual([5]);
    append(cache, [9]);
    expect(held(cache)).toEqual([0, 1, 2, 3, 4, 9].map((x, i) => [i, x]));
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
    const contents = cache.contents();
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
