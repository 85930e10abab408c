import { expectSize, UsageError } from '../../src/errors.js';
import { type CacheBytes, type CacheOptions, type KvCache, sumOfBytes } from './cache.js';
import { kvFormat } from './codec/format.js';
import { ContiguousStore } from './contiguous.js';
import { HashIndex } from './hash-index.js';
import { type LayerPlan, plansOf } from './layer-plan.js';
import { LayeredCache } from './layered.js';
import { NoCache } from './none.js';
import { PagePool } from './page-pool.js';
import { bytesOfPages, PagedCache } from './paged.js';
import type { PrefixIndex } from './prefix-index.js';
import { RadixIndex } from './radix-index.js';
import { ResidualCache, wholeBlocks } from './residual.js';
import { RingStore } from './ring.js';

/** Sizes that a user may choose. */
export interface CacheSizes {
  /** Tokens that the preallocated cache holds. */
  readonly cacheTokens: number;
  /** Tokens a page. */
  readonly pageSize: number;
  /** The most pages that all sequences together may take; Infinity: no limit. */
  readonly poolPages: number;
}

/** Makes caches, one for each sequence, over what they share. */
export interface CacheSource {
  newCache(): KvCache;
  /** The most tokens that one sequence can have: Infinity where memory is the limit. */
  readonly capacity: number;
  /** What several of its caches take together: what they share counts once. */
  bytes(caches: readonly KvCache[]): CacheBytes;
  /** Set where sequences share pages. */
  readonly pool: PagePool | null;
  /** Set where pages of earlier sequences are found again. */
  readonly index: PrefixIndex | null;
}

type Factory = (options: CacheOptions, sizes: CacheSizes) => CacheSource;

/** Caches that can be chosen by name. @throws UsageError, saying why, where a cache has no meaning for the layers or the form of their rows. */
export const CACHES = {
  none: (options) => {
    const held = contiguous(options, null);
    return alone(() => new NoCache(held.newCache));
  },
  contiguous: (options) => contiguous(options, null),
  preallocated: (options, { cacheTokens }) => {
    expectSize('cacheTokens (--cache-tokens)', cacheTokens);
    return contiguous(options, cacheTokens);
  },
  ring: (options) => {
    expectWindow(options);
    const plans = plansOf(options);
    return withResidual(
      options,
      alone(() => new LayeredCache(plans.map(ringOrContiguous))),
    );
  },
  paged: (options, sizes) => paged(options, sizes, () => null),
  prefix: (options, sizes) => paged(options, sizes, (pool) => new HashIndex(pool)),
  radix: (options, sizes) => paged(options, sizes, (pool) => new RadixIndex(pool)),
} satisfies Record<string, Factory>;

export type CacheName = keyof typeof CACHES;

/** The sizes that each of them needs. */
export const CACHE_SIZES: Readonly<Record<CacheName, readonly (keyof CacheSizes)[]>> = {
  none: [],
  contiguous: [],
  preallocated: ['cacheTokens'],
  ring: [],
  paged: ['pageSize', 'poolPages'],
  prefix: ['pageSize', 'poolPages'],
  radix: ['pageSize', 'poolPages'],
};

/** Caches that share nothing. */
function alone(newCache: () => KvCache, capacity = Number.POSITIVE_INFINITY): CacheSource {
  const bytes = (caches: readonly KvCache[]) => sumOfBytes(caches.map((cache) => cache.bytes()));
  return { newCache, capacity, bytes, pool: null, index: null };
}

/** @param tokens that are allocated at once, and the most that fit; null: as many as come */
function contiguous(options: CacheOptions, tokens: number | null): CacheSource {
  const { residual } = kvFormat(options.dtype);
  const plans = plansOf(options);
  const whole = tokens !== null && residual > 0 ? wholeBlocks(tokens - 1, residual) : tokens;
  const source = alone(
    () => new LayeredCache(plans.map((plan) => new ContiguousStore(plan, whole))),
    tokens ?? Number.POSITIVE_INFINITY,
  );
  return withResidual(options, source, tokens);
}

/** Layers that see everything keep everything: a model may have both kinds. */
function ringOrContiguous(plan: LayerPlan) {
  return Number.isFinite(plan.retention.span) ? new RingStore(plan) : new ContiguousStore(plan, null);
}

/** The same caches, with their newest tokens as they were computed, where the format asks for it. */
function withResidual(options: CacheOptions, source: CacheSource, preallocated: number | null = null): CacheSource {
  const { residual } = kvFormat(options.dtype);
  if (residual === 0) return source;
  const exact = plansOf({ ...options, dtype: options.precision });
  const plan = { residual, stored: plansOf(options), exact, preallocated };
  const handedOver = Number.isFinite(source.capacity) ? wholeBlocks(source.capacity, residual) : source.capacity;
  return {
    ...source,
    capacity: preallocated ?? handedOver + residual,
    newCache: () => new ResidualCache(source.newCache(), plan),
    bytes: (given) => {
      const caches = given as readonly ResidualCache[];
      return sumOfBytes([
        source.bytes(caches.map(({ older }) => older)),
        ...caches.map((cache) => cache.newestBytes()),
      ]);
    },
  };
}

function expectWindow({ layers }: CacheOptions): void {
  if (layers.some(({ retention }) => Number.isFinite(retention.span))) return;
  throw new UsageError(
    'Cache ring: it keeps what a window still sees, and here every layer sees all tokens; ' +
      'choose a visibility with a window (sliding, chunked, sinks), or another cache.',
  );
}

function paged(
  options: CacheOptions,
  { pageSize, poolPages }: CacheSizes,
  indexOf: (pool: PagePool) => PrefixIndex | null,
): CacheSource {
  const pool = new PagePool(options, pageSize, poolPages);
  const index = indexOf(pool);
  pool.lender = index;
  return withResidual(options, {
    newCache: () => new PagedCache(pool, index),
    capacity: poolPages * pageSize,
    bytes: (caches) => bytesOfPages(caches as readonly PagedCache[], pool),
    pool,
    index,
  });
}
