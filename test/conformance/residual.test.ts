/** New tokens as they were computed, old ones quantised: what a cache with a residual holds, and can go back to. */
import { describe, expect, it } from 'vitest';
import type { KvCache } from '../../attention/cache/cache.js';
import type { KvConfig } from '../../attention/cache/codec/format.js';
import { CACHES, type CacheName } from '../../attention/cache/index.js';
import { expectRoomTogether } from '../../attention/cache/paged.js';
import type { ResidualCache } from '../../attention/cache/residual.js';
import { consecutive } from '../../attention/streams.js';
import { sliding } from '../../attention/visibility/sliding.js';
import { flat } from '../../src/tensor/tensor.js';
import { append, caches, keys, layersOf } from '../support/cache-rows.js';
import { keepsAll, SIZES } from '../support/streams.js';

const FORM: KvConfig = { dtype: 'int4', keys: 'channel', group: 2, residual: 6 };
const kept = caches.filter((name) => name !== 'none');

function sourceOf(name: CacheName, dtype: KvConfig = FORM, sizes = SIZES) {
  const layers = layersOf(name, [keys], name === 'ring' ? sliding(4) : keepsAll);
  return CACHES[name]({ layers, precision: 'float32', dtype }, sizes);
}

/** Values that four bits would change. */
const values = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => 1 + (((from + i) * 7) % 11));

/** Which of the rows that are there are read as they were given. */
function exactOf(cache: KvCache, given: readonly number[]): number[] {
  return cache.blocks(0).flatMap((block) => {
    const read = flat(block.read('keys'));
    return [...block.positions].filter((position, row) => read[row] === given[position]);
  });
}

describe.each(kept)('a cache %s with a residual of 6', (name) => {
  it('reads whole blocks quantised and the rest as it was given', () => {
    const given = values(0, 20);
    const cache = sourceOf(name).newCache();
    for (const [from, to] of [[0, 5], [5, 6], [6, 15], [15, 16]] as const) append(cache, given.slice(from, to)); // biome-ignore format: pairs
    const exact = exactOf(cache, given);
    expect(exact.filter((position) => position >= 12)).toEqual([12, 13, 14, 15]);
    expect(exact.filter((position) => position < 12).length).toBeLessThan(8);
  });

  it('goes back by a token after any pass, and reads what it would have read', () => {
    for (let length = 1; length <= 20; length++) {
      for (const chunk of [1, length]) {
        const cache = sourceOf(name).newCache();
        for (let from = 0; from < length; from += chunk) append(cache, values(from, from + chunk));
        expect([...cache.rollback(length - 1)]).toEqual([length - 1]);
        const exact = exactOf(cache, values(0, length));
        for (let p = length - 1 - ((length - 1) % 6); p < length - 1; p++) expect(exact).toContain(p);
      }
    }
  });

  it('does not go back into a block that is quantised, but to its beginning where nothing lost is seen', () => {
    const cache = sourceOf(name).newCache();
    append(cache, values(0, 15));
    const before = cache.bytes();
    expect(() => cache.rollback(11)).toThrow(
      'cannot go back from position 15 to 11: the token there reads those from 6 on as they were computed',
    );
    expect([cache.next, cache.bytes()]).toEqual([15, before]);
    expect([...cache.rollback(12)]).toEqual([12, 13, 14]);
    if (name === 'ring') expect(() => cache.rollback(6)).toThrow('the ring of 4 goes back to 8 only');
    else expect([...cache.rollback(6)]).toEqual([6, 7, 8, 9, 10, 11]);
    expect(cache.rollback(0).length).toBe(cache.ids.length + (name === 'ring' ? 12 : 6));
    expect(cache.bytes().used).toBe(0);
  });

  it('holds packed bytes and scales of what is handed over, and floats of the rest', () => {
    // A token of one channel: half a byte that begins a byte of its own, and a float16 scale for two of them.
    const used = (packed: number, exact: number) => 2 * (packed * 1 + (packed / 2) * 2 + exact * 4);
    const cache = sourceOf(name).newCache();
    for (const [length, packed] of [
      [5, 0],
      [6, 0],
      [7, 6],
      [12, 6],
      [13, 12],
    ] as const) {
      // biome-ignore format: pairs
      append(cache, values(cache.next, length));
      const inWindow = name === 'ring' ? Math.min(packed, 4) : packed;
      expect(cache.bytes().used).toBe(used(inWindow, length - packed));
    }
  });

  it('leaves no memory behind after a long pass, or one that failed', () => {
    const cache = sourceOf(name).newCache();
    append(cache, values(0, 100));
    const { allocated } = cache.bytes();
    const rows = name === 'ring' ? 4 : name === 'preallocated' ? 198 : 96;
    expect(allocated).toBe(2 * (rows * 2 + 6 * 4));
    cache.begin(consecutive(100, 90), values(100, 190));
    cache.abort();
    // (a contiguous cache keeps the room that it made)
    if (name !== 'contiguous') expect(cache.bytes().allocated).toBe(allocated);
  });
});

it('a preallocated cache holds its tokens and not one more, whatever its residual is', () => {
  const cache = sourceOf('preallocated', FORM, { ...SIZES, cacheTokens: 15 }).newCache();
  const { allocated } = cache.bytes();
  append(cache, values(0, 15));
  expect(cache.bytes().allocated).toBe(allocated);
  expect(() => append(cache, [1])).toThrow('preallocated for 15 tokens, and 16 are needed');
  expect(cache.next).toBe(15);
});

describe.each(['prefix', 'radix'] as const)('a cache %s with a residual', (name) => {
  it('shares whole blocks, whatever the page size', () => {
    for (const pageSize of [2, 4, 8]) {
      const source = sourceOf(name, FORM, { ...SIZES, pageSize });
      const first = source.newCache() as ResidualCache;
      const given = values(0, 40);
      append(first, given);
      const second = source.newCache();
      const pages = Math.floor(first.older.next / pageSize) * pageSize;
      expect(second.adopt(given.slice(0, 35))).toBe(Math.floor(Math.min(pages, 35 - (35 % pageSize)) / 6) * 6);
      const other = [...given.slice(0, second.next), ...values(50, 70)];
      append(second, other.slice(second.next));
      const alone = sourceOf('contiguous').newCache();
      append(alone, other);
      const rows = (cache: typeof alone) => cache.blocks(1).flatMap((block) => [...flat(block.read('keys'))]);
      expect(rows(second)).toEqual(rows(alone));
    }
  });
});

it('contents of another form are refused, by every cache and whatever fits', () => {
  const forms: KvConfig[] = [FORM, { ...FORM, residual: 4 }, { ...FORM, zero: 'affine' }, { dtype: 'fp8_e4m3' }];
  const scaled: KvConfig = { dtype: 'fp8_e4m3', scale: 'head', amax: [0, 1].map(() => ({ keys: [2] })) };
  for (const name of kept) {
    for (const saved of forms) {
      for (const other of [...forms, scaled].filter((form) => form !== saved)) {
        for (const length of [3, 14]) {
          const cache = sourceOf(name, saved).newCache();
          append(cache, values(0, length));
          const target = sourceOf(name, other).newCache();
          expect(() => target.restore(cache.contents())).toThrow(/kept in another form|has (no|a) residual/);
          expect(target.next).toBe(0);
        }
      }
    }
  }
});

it('a pool holds a block more than its pages, since the newest tokens take none', () => {
  for (const poolPages of [1, 3, 4]) {
    const source = sourceOf('paged', FORM, { ...SIZES, pageSize: 4, poolPages });
    const cache = source.newCache();
    let held = 0;
    expect(() => {
      for (; held < 100; held++) append(cache, [held]);
    }).toThrow('more pages of 4 tokens are needed');
    expect(source.capacity).toBe(held);
  }
});

it('several sequences need pages for what they hand over alone', () => {
  const source = sourceOf('paged', FORM, { ...SIZES, pageSize: 2, poolPages: 3 });
  const cache = source.newCache();
  append(cache, values(0, 12)); // 6 of them are handed over
  expect(source.pool!.used).toBe(3);
  expect(() => append(cache, [1])).toThrow('3 more pages of 2 tokens are needed');
  expect([cache.next, source.pool!.used]).toEqual([12, 3]);
  expect(source.bytes([cache])).toEqual(cache.bytes());
  const second = source.newCache();
  expectRoomTogether([{ cache: second, tokens: 6 }]); // they all stay as they are
  expect(() => expectRoomTogether([{ cache: second, tokens: 7 }])).toThrow('3 more pages of 2 tokens are needed');
});
