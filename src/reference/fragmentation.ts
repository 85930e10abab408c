/**
 * How much of the memory for keys and values holds tokens, when requests of many lengths are served from it: each with a reservation of its own, or all from
 * pages. A row is one number, so that bookkeeping alone takes time; what is counted is what the caches themselves say of their bytes.
 */
import type { CacheOptions } from '../../attention/cache/cache.js';
import { UsageError } from '../errors.js';
import type { Sequence } from '../model/transformer.js';
import { tensor } from '../tensor/tensor.js';
import { type Running, type Served, serve } from './serving.js';
import type { MeteredMemory } from './serving-memory.js';
import type { Request } from './workload.js';

/** Shares of memory, which sum to 1, on average over the steps in which requests wait for it. */
export interface Usage {
  /** Holds tokens. */
  readonly utilisation: number;
  /** Reserved for tokens of running sequences that are yet to come. */
  readonly toCome: number;
  /** Reserved, and given back without ever having held a token. */
  readonly neverUsed: number;
  /** Of no running sequence: no request that waits fits into it. (An index may keep pages of earlier requests there.) */
  readonly free: number;
}

export interface Fragmentation extends Usage, Served {
  /** Sequences that run at once, on average over the same steps. */
  readonly running: number;
}

/** Rows of one number. */
export const ONE_VALUE: CacheOptions = {
  layers: [
    {
      streams: [{ name: 'token', heads: 1, dim: 1, key: true }],
      retention: { sinks: 0, span: Number.POSITIVE_INFINITY, oldest: () => 0 },
    },
  ],
  precision: 'float32',
  dtype: 'float32',
};

/** Of the steps, one in so many is looked at: neighbours hardly differ. */
const STEPS_BETWEEN_SAMPLES = 8;

/**
 * Serves the requests, and says what memory was used for.
 * @throws UsageError if none ever waits: memory that never fills says nothing of fragmentation
 */
export async function fragmentationOf(
  requests: readonly Request[],
  memory: MeteredMemory,
  pause?: () => Promise<void>,
): Promise<Fragmentation> {
  const samples: (Usage & { running: number })[] = [];
  let step = 0;
  const observe = (running: readonly Running[], waiting: number) => {
    if (step++ % STEPS_BETWEEN_SAMPLES > 0 || waiting === 0) return;
    samples.push({ ...usageOf(running, memory), running: running.length });
  };
  const served = await serve(requests, memory, { pass: storeTokens, observe, pause });
  if (samples.length === 0) {
    throw new UsageError(
      'No request ever waits for memory, so nothing is measured; ask for more of them (--requests), or give less memory (--memory-tokens).',
    );
  }
  const mean = (of: keyof Usage | 'running') => samples.reduce((sum, one) => sum + one[of], 0) / samples.length;
  const [utilisation, toCome, neverUsed, free] = [mean('utilisation'), mean('toCome'), mean('neverUsed'), mean('free')];
  return { ...served, utilisation, toCome, neverUsed, free, running: mean('running') };
}

export function usageOf(running: readonly Running[], memory: MeteredMemory): Usage {
  const { used, allocated } = memory.bytes(running);
  let toCome = 0;
  for (const { request, cache } of running) {
    const own = cache.bytes();
    const missing = ((request.ids.length - 1 - cache.next) * own.used) / cache.next;
    toCome += Math.min(own.allocated - own.used, missing);
  }
  const share = (bytes: number) => bytes / memory.size;
  return {
    utilisation: share(used),
    toCome: share(toCome),
    neverUsed: share(allocated - used - toCome),
    free: share(memory.size - allocated),
  };
}

/** Feeds tokens as their own rows. */
export function storeTokens(sequences: readonly Sequence[]): void {
  for (const { ids, cache } of sequences) {
    const first = cache.next;
    cache.begin(
      Int32Array.from(ids, (_, i) => first + i),
      ids,
    );
    cache.write(0, { token: tensor(Float32Array.from(ids), [ids.length, 1, 1]) });
    cache.commit();
  }
}
