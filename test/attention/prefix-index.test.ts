/** What the two ways of finding shared pages promise, on pages of two tokens. */
import { beforeEach, describe, expect, it } from 'vitest';
import { HashIndex } from '../../attention/cache/hash-index.js';
import { type Page, PagePool } from '../../attention/cache/page-pool.js';
import type { PrefixIndex } from '../../attention/cache/prefix-index.js';
import { RadixIndex } from '../../attention/cache/radix-index.js';
import { keepsAll } from '../support/streams.js';

const layers = [{ streams: [{ name: 'keys', heads: 1, dim: 1, key: true }], retention: keepsAll }];

describe.each([
  ['hash', (pool: PagePool) => new HashIndex(pool)],
  ['radix', (pool: PagePool) => new RadixIndex(pool)],
])('the %s index', (_, make) => {
  let pool: PagePool;
  let index: PrefixIndex;
  const match = (...ids: number[]) => index.match(Int32Array.from(ids));

  /** Pages of a sequence that is over: only the index holds them. */
  function learn(...ids: number[]): Page[] {
    const pages = pool.take(ids.length / 2);
    const kept = index.insert(Int32Array.from(ids), pages);
    for (const page of pages) pool.release(page);
    return kept;
  }

  beforeEach(() => {
    pool = new PagePool({ layers, precision: 'float32', dtype: 'float32' }, 2);
    index = make(pool);
  });

  it('finds the longest known beginning, in whole pages', () => {
    const pages = learn(1, 2, 3, 4, 5, 6);
    expect(match(1, 2, 3, 4, 5, 6, 7)).toEqual(pages);
    expect(match(1, 2, 3, 4, 5, 9)).toEqual(pages.slice(0, 2));
    expect(match(1, 2, 3)).toEqual(pages.slice(0, 1));
    expect(match(1)).toEqual([]);
    expect(match(3, 4)).toEqual([]);
    expect(match(1, 3)).toEqual([]);
  });

  it('keeps one page of two that hold the same, and what parts from it', () => {
    const first = learn(1, 2, 3, 4, 5, 6);
    const second = learn(1, 2, 3, 4, 7, 8);
    const third = learn(1, 2, 9, 9);
    expect(second.slice(0, 2)).toEqual(first.slice(0, 2));
    expect(third[0]).toBe(first[0]);
    expect(match(1, 2, 3, 4, 5, 6)).toEqual(first);
    expect(match(1, 2, 3, 4, 7, 8)).toEqual(second);
    expect(match(1, 2, 9, 9)).toEqual(third);
    expect([index.size, pool.used]).toEqual([5, 5]);
  });

  it('lets the least recently used leaf go first, where finding is using', () => {
    learn(1, 1);
    learn(2, 2, 3, 3);
    learn(4, 4);
    match(1, 1);
    expect(index.evict()).toBe(true);
    expect([match(2, 2, 3, 3).length, match(1, 1).length, match(4, 4).length]).toEqual([1, 1, 1]); // 3 3, the leaf
    match(2, 2);
    match(4, 4);
    index.evict();
    expect([match(1, 1).length, match(2, 2).length, match(4, 4).length]).toEqual([0, 1, 1]);
    index.evict();
    expect([match(2, 2).length, match(4, 4).length]).toEqual([0, 1]);
    index.evict();
    expect([index.evict(), index.size, pool.used]).toEqual([false, 0, 0]);
  });

  it('counts what is learnt again as used', () => {
    learn(1, 1);
    learn(2, 2);
    learn(1, 1, 5, 5);
    index.evict();
    expect([match(2, 2).length, match(1, 1, 5, 5).length]).toEqual([0, 2]);
  });

  it('lets no page go that a sequence holds, nor one before it', () => {
    const pages = learn(1, 1, 2, 2, 3, 3);
    for (const page of pages.slice(0, 2)) pool.share(page);
    expect([index.idle, index.evict(), index.evict(), index.idle]).toEqual([1, true, false, 0]);
    expect(match(1, 1, 2, 2, 3, 3)).toEqual(pages.slice(0, 2));
    pool.release(pages[1]!);
    expect([index.idle, index.evict()]).toEqual([1, true]);
    expect(match(1, 1, 2, 2)).toEqual(pages.slice(0, 1));
  });

  it('is asked for pages before a pool says that it has none', () => {
    pool = new PagePool({ layers, precision: 'float32', dtype: 'float32' }, 2, 3);
    index = make(pool);
    pool.lender = index;
    learn(1, 1, 2, 2);
    expect(pool.take(2).length).toBe(2);
    expect([index.size, match(1, 1, 2, 2).length]).toEqual([1, 1]);
    expect(() => pool.take(2)).toThrow('2 more pages of 2 tokens are needed, and of 3 all but 0 are in use');
    expect(index.size).toBe(1); // nothing is evicted for what cannot be had
    expect(pool.take(1).length).toBe(1);
  });
});

it('a radix tree uses a whole run, also where a match ends inside it', () => {
  const pool = new PagePool({ layers, precision: 'float32', dtype: 'float32' }, 2);
  const index = new RadixIndex(pool);
  for (const ids of [
    [5, 5, 6, 6],
    [7, 7],
  ]) {
    const pages = pool.take(ids.length / 2);
    index.insert(Int32Array.from(ids), pages);
    for (const page of pages) pool.release(page);
  }
  index.match(Int32Array.of(5, 5));
  index.evict();
  expect(index.match(Int32Array.of(7, 7)).length).toBe(0);
  expect(index.match(Int32Array.of(5, 5, 6, 6)).length).toBe(2);
});
