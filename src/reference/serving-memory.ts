/** The two ways of sharing out memory for keys and values: a reservation for each request, or pages for all of them. */
import { type CacheBytes, type CacheOptions, type KvCache, sumOfBytes } from '../../attention/cache/cache.js';
import { bytesOf } from '../../attention/cache/codec/layout.js';
import { HashIndex } from '../../attention/cache/hash-index.js';
import { CACHES } from '../../attention/cache/index.js';
import { plansOf } from '../../attention/cache/layer-plan.js';
import { PagePool } from '../../attention/cache/page-pool.js';
import { bytesOfPages, PagedCache } from '../../attention/cache/paged.js';
import type { PrefixIndex } from '../../attention/cache/prefix-index.js';
import { RadixIndex } from '../../attention/cache/radix-index.js';
import type { Memory, Running } from './serving.js';
import type { Request } from './workload.js';

/** Memory that says what it is used for, in bytes. */
export interface MeteredMemory extends Memory {
  readonly size: number;
  /** What running sequences take; what several of them share counts once. */
  bytes(running: readonly Running[]): CacheBytes;
}

/** Each request has a preallocated cache. @param reserve the tokens that it is made for */
export function reservations(
  options: CacheOptions,
  memoryTokens: number,
  reserve: (request: Request) => number,
): MeteredMemory {
  const bytesFor = (tokens: number) => plansOf(options).reduce((sum, { layout }) => sum + bytesOf(layout, tokens), 0);
  const size = bytesFor(memoryTokens);
  const bytes = (running: readonly Running[]) => sumOfBytes(running.map(({ cache }) => cache.bytes()));
  return {
    size,
    bytes,
    admit: (request, _known, running) => {
      const cacheTokens = reserve(request);
      if (bytes(running).allocated + bytesFor(cacheTokens) > size) return null;
      return CACHES.preallocated(options, { cacheTokens, pageSize: 1, poolPages: 1 }).newCache();
    },
    hasRoom: () => true,
  };
}

/** Ways of finding pages of earlier requests again. */
const PAGE_INDICES = {
  none: () => null,
  hash: (pool: PagePool) => new HashIndex(pool),
  radix: (pool: PagePool) => new RadixIndex(pool),
} satisfies Record<string, (pool: PagePool) => PrefixIndex | null>;

export type PageIndexName = keyof typeof PAGE_INDICES;

/** What caches over pages share. */
export interface Pages {
  readonly pool: PagePool;
  readonly index: PrefixIndex | null;
  newCache(): PagedCache;
}

/** @param memoryTokens what does not fill a page is lost */
export function pagesOf(
  options: CacheOptions,
  { memoryTokens, pageSize }: { readonly memoryTokens: number; readonly pageSize: number },
  name: PageIndexName = 'none',
): Pages {
  const pool = new PagePool(options, pageSize, Math.floor(memoryTokens / pageSize));
  const index = PAGE_INDICES[name](pool);
  pool.lender = index;
  return { pool, index, newCache: () => new PagedCache(pool, index) };
}

/** The share of the pages that no request may take when it comes in, for those that run: as in vLLM's block manager (`watermark`). */
const WATERMARK = 0.01;

export interface PagedMemory extends MeteredMemory {
  readonly pages: Pages;
}

/** All requests take pages of one pool as they grow. @param memoryTokens of which the pool has what is in whole pages */
export function pagedMemory(pages: Pages, memoryTokens: number): PagedMemory {
  const { pool, index } = pages;
  const spare = Math.floor(WATERMARK * pool.limit);
  const fits = (count: number) => {
    const free = pool.limit - pool.used;
    return count <= free || count <= free + (index?.idle ?? 0);
  };
  return {
    pages,
    size: (memoryTokens * pool.pageBytes) / pool.pageSize,
    bytes: (running) => bytesOfPages(running.map(pagedCache), pool),
    admit: ({ ids }, known, running) => {
      const cache = pages.newCache();
      cache.adopt(ids.slice(0, known - 1)); // the last one is fed: its logits are asked for
      if (fits(cache.pagesFor(known - cache.next) + (running.length > 0 ? spare : 0))) return cache;
      cache.release();
      return null;
    },
    hasRoom: (running) => fits(running.reduce((sum, each) => sum + pagedCache(each).pagesFor(1), 0)),
  };
}

function pagedCache({ cache }: { readonly cache: KvCache }): PagedCache {
  if (cache instanceof PagedCache) return cache;
  throw new Error('a sequence of this memory has a cache without pages');
}
