import type { CacheOptions, KvCache } from './cache.js';
import { ContiguousCache } from './contiguous.js';
import { NoCache } from './none.js';

/** Caches that can be chosen by name. */
export const CACHES = {
  none: (options) => new NoCache(options),
  contiguous: (options) => new ContiguousCache(options),
} satisfies Record<string, (options: CacheOptions) => KvCache>;

export type CacheName = keyof typeof CACHES;
