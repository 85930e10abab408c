/** Random commands to some sequences of a model: whatever a cache can be asked to do with its rows. */
import fc from 'fast-check';
import type { KvCache } from '../../attention/cache/cache.js';
import type { Model } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';

export const OPERATIONS = fc.record({
  what: fc.constantFrom('feed', 'feed', 'fork', 'rollback', 'release', 'reload', 'adopt'),
  at: fc.nat(3),
  count: fc.integer({ min: 1, max: 14 }),
});

interface Operation {
  readonly what: string;
  readonly at: number;
  readonly count: number;
}

/** Does this and that to some sequences. After each, all of them compute a token together, whose calls the twin holds against the reference. */
export async function commands(model: Model, ops: readonly Operation[]): Promise<void> {
  const caches: KvCache[] = [model.components.newCache()];
  for (const { what, at, count } of ops) {
    const cache = caches[at % caches.length]!;
    if (what === 'feed') await feed(model, [cache], count);
    else if (what === 'fork' && caches.length < 4) caches.push(cache.fork());
    else if (what === 'rollback') rollback(cache, count);
    else if (what === 'release') cache.release();
    else if (what === 'reload') {
      const contents = cache.contents();
      cache.release();
      cache.restore(contents);
    } else if (what === 'adopt' && caches.length < 4) {
      const fresh = model.components.newCache();
      fresh.adopt([...cache.ids]);
      caches.push(fresh);
    }
    await feed(model, caches, 1);
  }
  for (const cache of caches) cache.release();
}

export function idsFrom(cache: KvCache, count: number): number[] {
  return Array.from({ length: count }, (_, i) => ((cache.next + i) * 7) % 50);
}

export function feed(model: Model, caches: readonly KvCache[], count: number) {
  return forward(model, caches.map((cache) => ({ cache, ids: idsFrom(cache, count) }))); // biome-ignore format: one thought
}

/** As far as the cache can. */
function rollback(cache: KvCache, count: number): void {
  for (let back = count; back > 0; back--) {
    try {
      cache.rollback(Math.max(cache.next - back, 0));
      return;
    } catch {} // a ring, or rows that are quantised by now: not so far
  }
}
