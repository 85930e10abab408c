/** The laws of memory for keys and values: what a reservation, and what a page, can waste. */
import { describe, expect, it } from 'vitest';
import type { PagedCache } from '../../attention/cache/paged.js';
import type { Sequence } from '../../src/model/transformer.js';
import { fragmentationOf, ONE_VALUE, storeTokens, usageOf } from '../../src/reference/fragmentation.js';
import { policiesOf } from '../../src/reference/policies.js';
import { type Running, serve } from '../../src/reference/serving.js';
import {
  type MeteredMemory,
  type PageIndexName,
  pagedMemory,
  pagesOf,
  reservations,
} from '../../src/reference/serving-memory.js';
import { drawRequests, NOTHING_SHARED, type Request } from '../../src/reference/workload.js';
import { flat } from '../../src/tensor/tensor.js';

const MEMORY = 300;
const LONGEST = 90;
const BYTES = 4;

const drawn = (seed: number, shared = NOTHING_SHARED) =>
  drawRequests({
    seed,
    requests: 60,
    maxTokens: LONGEST,
    prompt: { mean: 15, sigma: 1 },
    output: { mean: 25, sigma: 0.8 },
    vocabulary: 1000,
    shared,
  });

const REQUESTS = drawn(1);
const ALIKE = drawn(1, { share: 0.6, prefixes: 2, tokens: 24 });

const inPages = (pageSize: number, index: PageIndexName = 'none') =>
  pagedMemory(pagesOf(ONE_VALUE, { memoryTokens: MEMORY, pageSize }, index), MEMORY);
const reserving = (tokens: (request: Request) => number) => reservations(ONE_VALUE, MEMORY, tokens);

/** Serves, and looks at every step. */
async function watch(
  requests: readonly Request[],
  memory: MeteredMemory,
  observe: (running: readonly Running[], waiting: number) => void,
) {
  const pass = (sequences: readonly Sequence[]) => {
    for (const { ids } of sequences) expect(ids.length).toBeGreaterThan(0);
    storeTokens(sequences);
  };
  return await serve(requests, memory, { pass, observe });
}

const MEMORIES: [string, readonly Request[], () => MeteredMemory][] = [
  ['reservations of the maximum', REQUESTS, () => reserving(() => LONGEST)],
  ['reservations of the length', REQUESTS, () => reserving(({ ids }) => ids.length - 1)],
  ...[1, 4, 16].flatMap((pageSize): [string, readonly Request[], () => MeteredMemory][] => [
    [`pages of ${pageSize}`, REQUESTS, () => inPages(pageSize)],
    [`pages of ${pageSize} found by hash`, ALIKE, () => inPages(pageSize, 'hash')],
    [`pages of ${pageSize} found in a tree`, ALIKE, () => inPages(pageSize, 'radix')],
  ]),
];

describe.each(MEMORIES)('%s', (_, requests, newMemory) => {
  it('measure the same again', async () => {
    expect(await fragmentationOf(requests, newMemory())).toEqual(await fragmentationOf(requests, newMemory()));
  });

  it('hold every sequence as its own tokens, in the order in which requests came', async () => {
    const came: Request[] = [];
    await watch(requests, newMemory(), (running) => {
      for (const { request, cache } of running) {
        if (!came.includes(request)) came.push(request);
        const rows = cache.blocks(0).flatMap((block) => [...flat(block.read('token'))]);
        expect(rows).toEqual(request.ids.slice(0, cache.next));
      }
    });
    expect(came).toEqual(requests);
  });

  it('divide all of memory into what is used, what is idle and what is free', async () => {
    const memory = newMemory();
    await watch(requests, memory, (running) => {
      const { utilisation, toCome, neverUsed, free } = usageOf(running, memory);
      expect(utilisation + toCome + neverUsed + free).toBeCloseTo(1, 12);
      for (const share of [utilisation, toCome, neverUsed, free]) expect(share).toBeGreaterThanOrEqual(-1e-12);
    });
  });

  it('feed every token once, and again only what was preempted', async () => {
    const { prefilled, decoded, fedAgain, adopted } = await watch(requests, newMemory(), () => {});
    const needed = requests.reduce((sum, { ids }) => sum + ids.length - 1, 0);
    if (adopted === 0) expect(prefilled + decoded - fedAgain).toBe(needed);
    else expect(prefilled + decoded - fedAgain).toBeLessThan(needed);
  });
});

it('is the mean over every eighth step, as long as requests wait', async () => {
  const held: number[] = [];
  let step = 0;
  await watch(REQUESTS, inPages(4), (running, waiting) => {
    const tokens = running.reduce((sum, { cache }) => sum + cache.next, 0);
    if (step++ % 8 === 0 && waiting > 0) held.push(tokens);
  });
  const { utilisation } = await fragmentationOf(REQUESTS, inPages(4));
  expect(held.length).toBeGreaterThan(5);
  expect(utilisation).toBeCloseTo(held.reduce((a, b) => a + b, 0) / held.length / MEMORY, 12);
});

describe('reservations', () => {
  it('hold as much as the mean of what sequences hold, over what is reserved', async () => {
    const memory = reserving(() => LONGEST);
    await watch(REQUESTS, memory, (running, waiting) => {
      if (waiting > 0) expect(running.length).toBe(Math.floor(MEMORY / LONGEST));
      const held = running.reduce((sum, { cache }) => sum + cache.next, 0);
      const { utilisation, free } = usageOf(running, memory);
      expect(utilisation).toBeCloseTo(held / MEMORY, 12);
      expect(free).toBeCloseTo(1 - (running.length * LONGEST) / MEMORY, 12);
    });
  });

  it('waste nothing for good where the length is known', async () => {
    const { neverUsed, preemptions } = await fragmentationOf(
      REQUESTS,
      reserving(({ ids }) => ids.length - 1),
    );
    expect([neverUsed, preemptions]).toEqual([0, 0]);
  });
});

describe('pages', () => {
  it.each([1, 2, 7, 32])('of %i tokens waste less than one of them for each sequence', async (pageSize) => {
    const memory = inPages(pageSize);
    let most = 0;
    await watch(REQUESTS, memory, (running) => {
      for (const { cache } of running) {
        const { used, allocated } = cache.bytes();
        most = Math.max(most, (allocated - used) / BYTES);
      }
      const { used, allocated } = memory.bytes(running);
      expect(allocated - used).toBeLessThanOrEqual(running.length * (pageSize - 1) * BYTES);
    });
    expect(most).toBe(pageSize - 1);
  });

  it('hold more than reservations do, and fewer the larger they are', async () => {
    const shares: number[] = [];
    for (const memory of [inPages(1), inPages(16), inPages(60), reserving(() => LONGEST)]) {
      shares.push((await fragmentationOf(REQUESTS, memory)).utilisation);
    }
    expect(shares).toEqual([...shares].sort((a, b) => b - a));
    expect(new Set(shares).size).toBe(4);
  });

  it.each<[PageIndexName]>([['none'], ['hash'], ['radix']])(
    'leave none behind but those of index %s',
    async (index) => {
      const { pages, ...memory } = inPages(4, index);
      await watch(ALIKE, { ...memory }, () => {});
      expect(pages.pool.used).toBe(pages.index?.size ?? 0);
      while (pages.index?.evict());
      expect(pages.pool.used).toBe(0);
    },
  );

  it('are given back by the youngest sequence when there are no others', async () => {
    const memory = inPages(4);
    const { pool } = memory.pages;
    const before: { running: readonly Running[]; used: number; youngest: number }[] = [];
    const hasRoom = (running: readonly Running[]) => {
      const last = before.at(-1);
      if (last) {
        expect(running).toEqual(last.running.slice(0, -1));
        expect(pool.used).toBe(last.used - last.youngest);
      }
      before.length = 0;
      const room = memory.hasRoom(running);
      const youngest = (running.at(-1)?.cache as PagedCache | undefined)?.pages.length ?? 0;
      if (!room) before.push({ running: [...running], used: pool.used, youngest });
      return room;
    };
    const { preemptions, fedAgain } = await watch(REQUESTS, { ...memory, hasRoom }, () => {});
    expect(preemptions).toBeGreaterThan(10);
    expect(fedAgain).toBeGreaterThan(preemptions);
  });

  it('that are found need not be fed', async () => {
    const [alone, found] = [await fragmentationOf(ALIKE, inPages(4)), await fragmentationOf(ALIKE, inPages(4, 'hash'))];
    expect(alone.adopted).toBe(0);
    expect(found.adopted).toBeGreaterThan(ALIKE.length * 0.3 * 24);
    expect(found.running).toBeGreaterThan(alone.running);
    expect(await fragmentationOf(ALIKE, inPages(4, 'radix'))).toEqual(found);
  });

  it.each<[PageIndexName]>([['hash'], ['radix']])(
    'found by %s leave a token to feed, whose logits are asked for',
    async (index) => {
      const request = { ids: [1, 2, 3, 4, 5, 6, 7, 8, 9], prompt: 8 };
      const { adopted } = await watch([request, request], inPages(4, index), () => {});
      expect(adopted).toBe(4);
    },
  );

  it('of a sequence belong to a paged cache', () => {
    const request = REQUESTS[0]!;
    const cache = reserving(() => LONGEST).admit(request, request.prompt, [])!;
    expect(() => inPages(4).hasRoom([{ request, cache }])).toThrow('a cache without pages');
  });
});

describe('what cannot be measured is refused', () => {
  it('a request that has no room even alone', async () => {
    await expect(
      watch(
        REQUESTS,
        reservations(ONE_VALUE, 50, () => LONGEST),
        () => {},
      ),
    ).rejects.toThrow('Memory has no room for a request of');
    const small = pagedMemory(pagesOf(ONE_VALUE, { memoryTokens: 50, pageSize: 5 }), 50);
    await expect(watch(REQUESTS, small, () => {})).rejects.toThrow('Memory has no room for a request of');
  });

  it('memory that never fills', async () => {
    const memory = reserving(() => LONGEST);
    await expect(fragmentationOf(REQUESTS.slice(0, 2), memory)).rejects.toThrow('No request ever waits for memory');
  });

  it('pages in which the longest request would not fit', () => {
    const sizes = { memoryTokens: 100, maxTokens: 90, pageSizes: [10, 64] };
    expect(() => policiesOf(sizes)).toThrow('100 tokens hold 64 in whole pages of 64, and a request may have 90');
    expect(() => policiesOf({ ...sizes, pageSizes: [], maxTokens: 101 })).toThrow('a request may have 101');
  });
});

it('reserves the maximum, twice what is needed at most, or what is needed', () => {
  const policies = policiesOf({ memoryTokens: 300, maxTokens: 40, pageSizes: [] });
  const reserved = (answer: number) =>
    policies.map(({ newMemory }) => {
      const request = { ids: Array(5 + answer).fill(0), prompt: 5 };
      return newMemory().admit(request, 5, [])!.bytes().allocated / BYTES;
    });
  expect(reserved(8)).toEqual([40, 13, 12]); // the last token of an answer is never fed
  expect(reserved(9)).toEqual([40, 21, 13]);
  expect(reserved(35)).toEqual([40, 40, 39]);
});

it('stands beside what was published only in the sizes of the publication', () => {
  const published = (memoryTokens: number) =>
    policiesOf({ memoryTokens, maxTokens: 2048, pageSizes: [8, 16] }).map((policy) => policy.published?.utilisation);
  expect(published(15_728)).toEqual([0.204, 0.268, 0.382, undefined, 0.963]);
  expect(published(15_729)).toEqual(Array(5).fill(undefined));
});
