/**
 * Every cache against a list of rows: random appends (committed, aborted, refused for want of room), forks, rollbacks, adoptions of known
 * prefixes, evictions, and trips through saved contents, over a small pool. After every step: what is read is what the list says, bit for bit;
 * free + used = total; every page is held as often as it is counted; and what failed has changed nothing.
 */
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import type { KvCache } from '../../attention/cache/cache.js';
import { type KvConfig, type KvFormat, kvFormat } from '../../attention/cache/codec/format.js';
import { CACHES, type CacheName, type CacheSizes, type CacheSource } from '../../attention/cache/index.js';
import type { Page } from '../../attention/cache/page-pool.js';
import { PagedCache } from '../../attention/cache/paged.js';
import { ResidualCache } from '../../attention/cache/residual.js';
import { consecutive, type LayerSchema, type Retention, type StreamSchema } from '../../attention/streams.js';
import { chunked } from '../../attention/visibility/chunked.js';
import { sinksAndWindow } from '../../attention/visibility/sinks.js';
import { sliding } from '../../attention/visibility/sliding.js';
import { RequestError } from '../../src/errors.js';
import { flat, tensor } from '../../src/tensor/tensor.js';
import { rowsAsRead } from '../support/read-back.js';
import { keepsAll } from '../support/streams.js';

const streams = [
  { name: 'keys', heads: 2, dim: 1, key: true },
  { name: 'values', heads: 1, dim: 3, key: false },
];

/** A row depends on all tokens up to its own, as a real one does: equal beginnings have equal rows, and others have not. */
function rowOf(history: readonly number[], layer: number, stream: string, size: number): Float32Array {
  let hash = layer * 31 + (stream === 'keys' ? 7 : 11);
  for (const id of history) hash = Math.imul(hash ^ (id + 1), 0x9e3779b1) ^ (hash >>> 13);
  return Float32Array.from({ length: size }, (_, i) => Math.sin(hash + i));
}

function rowsFor(ids: readonly number[], from: number, layer: number) {
  return Object.fromEntries(
    streams.map(({ name, heads, dim }) => {
      const rows = ids.slice(from).map((_, i) => rowOf(ids.slice(0, from + i + 1), layer, name, heads * dim));
      return [name, tensor(Float32Array.of(...rows.flatMap((row) => [...row])), [rows.length, heads, dim])];
    }),
  );
}

/** All rows of a stream, as the next token's neighbour reads them. */
function rowsAs(format: KvFormat, ids: readonly number[], layer: number, stream: StreamSchema): number[][] {
  const size = stream.heads * stream.dim;
  const rows = rowsFor(ids, 0, layer)[stream.name]!;
  const read = rowsAsRead(format, flat(rows), stream, layer, ids.length);
  return ids.map((_, p) => [...read.subarray(p * size, (p + 1) * size)]);
}

/** One sequence: the cache, and the list that it is held against. */
interface Sequence {
  cache: KvCache;
  ids: number[];
}

interface Real {
  readonly source: CacheSource;
  readonly layers: readonly LayerSchema[];
  readonly format: KvFormat;
  readonly sequences: Sequence[];
}

/** The rows that the next token, or a later one, may see must be there; every row that is there must be right. */
function expectRight({ source, layers, format, sequences }: Real): void {
  for (const { cache, ids } of sequences) {
    expect([...cache.ids]).toEqual(ids);
    for (const [layer, { retention }] of layers.entries()) {
      const seen = new Set<number>();
      const expected = streams.map((stream) => rowsAs(format, ids, layer, stream));
      for (const block of cache.blocks(layer)) {
        for (const [s, { name }] of streams.entries()) {
          expect([...flat(block.read(name))]).toEqual([...block.positions].flatMap((p) => expected[s]![p]!));
        }
        for (const position of block.positions) seen.add(position);
      }
      const needed = [...consecutive(0, ids.length)].filter(
        (p) => p < retention.sinks || p >= retention.oldest(ids.length),
      );
      expect([...seen]).toEqual([...seen].sort((a, b) => a - b)); // ascending, each once
      expect(needed.filter((position) => !seen.has(position))).toEqual([]);
    }
  }
  expectCounted(source, sequences);
}

/** Every page is free or used, and held by exactly the tables and the index that know it. */
function expectCounted({ pool, index }: CacheSource, sequences: readonly Sequence[]): void {
  if (!pool) return;
  const tables = sequences.flatMap(({ cache }) => pagesOf(cache)!);
  const held = new Set(tables);
  expect(pool.unused + pool.used).toBe(pool.total);
  expect(pool.total).toBeLessThanOrEqual(pool.limit);
  for (const page of held) expect(page.refs).toBeGreaterThanOrEqual(tables.filter((other) => other === page).length);
  const refs = [...held].reduce((sum, { refs }) => sum + refs, 0) + (index?.idle ?? 0);
  expect(refs).toBe(tables.length + (index?.size ?? 0));
  expect(pool.used).toBe(held.size + (index?.idle ?? 0));
}

/** The pages of a cache that has some, also behind a residual. */
function pagesOf(cache: KvCache): readonly Page[] | null {
  if (cache instanceof ResidualCache) return pagesOf(cache.older);
  return cache instanceof PagedCache ? cache.pages : null;
}

/** What must not change when something fails. Which pages an index has evicted may. */
function snapshot({ source, sequences }: Real) {
  return {
    tables: sequences.map(({ cache }) => (pagesOf(cache) ?? []).map(({ id, refs }) => [id, refs])),
    rows: sequences.map(({ cache }) => [cache.next, cache.bytes().used]),
    pool: source.pool && [source.pool.used, source.index?.size],
  };
}

/** Does it, or fails with a RequestError and has changed nothing. @returns whether it was done */
function attempt(real: Real, act: () => void): boolean {
  const before = snapshot(real);
  try {
    act();
    return true;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    expect(snapshot(real)).toEqual(before);
    return false;
  }
}

type Command = fc.Command<object, Real>;

function command(name: string, run: (real: Real) => void): Command {
  return {
    check: () => true,
    run: (_, real) => {
      run(real);
      expectRight(real);
    },
    toString: () => name,
  };
}

const at = (real: Real, i: number): Sequence | undefined => real.sequences[i % Math.max(real.sequences.length, 1)];

const append = fc
  .tuple(fc.nat(), fc.array(fc.nat(2), { minLength: 1, maxLength: 9 }), fc.boolean())
  .map(([i, fresh, commit]) =>
    command(`append ${fresh} to ${i}${commit ? '' : ', aborted'}`, (real) => {
      const one = at(real, i);
      if (!one) return;
      const { cache } = one;
      const ids = [...one.ids, ...fresh];
      const before = snapshot(real);
      if (!attempt(real, () => cache.begin(consecutive(cache.next, fresh.length), fresh))) return;
      for (const layer of real.layers.keys()) {
        cache.write(layer, rowsFor(ids, cache.next, layer));
        const newest = cache.blocks(layer).at(-1)!;
        const expected = rowsAs(real.format, ids, layer, streams[1]!).at(-1)!;
        expect([...flat(newest.read('values')).slice(-3)]).toEqual(expected);
      }
      if (commit) {
        cache.commit();
        one.ids = ids;
      } else {
        cache.abort();
        const { tables, rows } = snapshot(real);
        expect({ tables, rows }).toEqual({ tables: before.tables, rows: before.rows });
      }
    }),
  );

const create = fc.tuple(fc.nat(), fc.array(fc.nat(2), { maxLength: 12 })).map(([i, tail]) =>
  command(`a new one like ${i}, then ${tail}`, (real) => {
    if (real.sequences.length >= 5) return;
    const ids = [...(at(real, i)?.ids ?? []), ...tail];
    const cache = real.source.newCache();
    const known = cache.adopt(ids);
    expect(known).toBe(cache.next);
    real.sequences.push({ cache, ids: ids.slice(0, known) });
  }),
);

const fork = fc.nat().map((i) =>
  command(`fork ${i}`, (real) => {
    const one = at(real, i);
    if (one && real.sequences.length < 5) real.sequences.push({ cache: one.cache.fork(), ids: [...one.ids] });
  }),
);

const rollback = fc.tuple(fc.nat(), fc.oneof(fc.nat(7), fc.nat(40))).map(([i, count]) =>
  command(`take ${count} from ${i}`, (real) => {
    const one = at(real, i);
    if (!one) return;
    const to = Math.max(one.ids.length - count, 0);
    const done = attempt(real, () => {
      expect([...one.cache.rollback(to)]).toEqual([...consecutive(to, one.ids.length - to)]);
    });
    if (done) one.ids.length = to;
  }),
);

const release = fc.nat().map((i) =>
  command(`release ${i}`, (real) => {
    if (real.sequences.length === 0) return;
    const [one] = real.sequences.splice(i % real.sequences.length, 1);
    one!.cache.release();
  }),
);

const reload = fc.nat().map((i) =>
  command(`save ${i} and load it`, (real) => {
    const one = at(real, i);
    if (!one) return;
    const contents = one.cache.contents();
    const cache = real.source.newCache();
    if (!attempt(real, () => cache.restore(contents))) return expect(cache.next).toBe(0);
    one.cache.release();
    one.cache = cache;
  }),
);

const evict = fc.constant(
  command('evict', ({ source: { index } }) => {
    const before = index?.idle ?? 0;
    if (index) expect(index.evict()).toBe(before > 0);
    expect(index?.idle ?? 0).toBe(Math.max(before - 1, 0));
  }),
);

const forms = fc.constantFrom<KvConfig>(
  { dtype: 'float16' },
  { dtype: 'fp8_e5m2' },
  { dtype: 'int4' },
  { dtype: 'int8', zero: 'affine', residual: 3 },
  { dtype: 'int8', zero: 'affine', keys: 'channel', group: 2, residual: 2 },
  { dtype: 'int4', keys: 'channel', group: 2, residual: 6 },
  { dtype: 'int4', keys: 'channel', group: 3, residual: 3 },
);

const rules: Record<string, readonly Retention[]> = {
  ring: [sliding(1), sliding(5), chunked(4), sinksAndWindow(2, 3), sinksAndWindow(3, 1), keepsAll],
};

describe.each((Object.keys(CACHES) as CacheName[]).filter((name) => name !== 'none'))('cache %s', (name) => {
  const retention = fc.constantFrom(...(rules[name] ?? [keepsAll]));
  const sizes = fc.record({
    cacheTokens: fc.integer({ min: 5, max: 30 }),
    pageSize: fc.integer({ min: 1, max: 6 }),
    poolPages: fc.integer({ min: 3, max: 20 }),
  });
  const commands = fc.commands([append, append, append, create, fork, rollback, release, reload, evict], {
    maxCommands: 40,
  });

  const run = (dtype: KvConfig, kept: Retention, given: CacheSizes, steps: Iterable<Command>) => {
    const layers = [kept, name === 'ring' ? sliding(3) : kept].map((each) => ({ streams, retention: each }));
    const format = kvFormat(dtype);
    const pageSize = given.pageSize * format.alignment;
    const source = CACHES[name]({ layers, precision: 'float32', dtype }, { ...given, pageSize });
    const real: Real = { source, layers, format, sequences: [] };
    fc.modelRun(() => ({ model: {}, real }), steps);
    for (const { cache } of real.sequences) cache.release();
    while (source.index?.evict());
    expect(source.pool?.used ?? 0).toBe(0); // no page has leaked
  };

  test.prop([retention, sizes, commands], { numRuns: 300 })('is a list of rows', (kept, given, steps) =>
    run({ dtype: 'float32' }, kept, given, steps),
  );

  test.prop([forms, retention, sizes, commands], { numRuns: 400 })(
    'is a list of rows in another form, old ones quantised and new ones as they were',
    (dtype, kept, given, steps) => run(dtype, kept, given, steps),
  );
});
