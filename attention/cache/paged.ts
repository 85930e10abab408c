import type { CacheBlock, StreamRows } from '../streams.js';
import { consecutive } from '../streams.js';
import type { CacheContents, KvCache } from './cache.js';
import { expectAllRows, expectNoResidual } from './contents.js';
import type { Page, PagePool } from './page-pool.js';
import type { PrefixIndex } from './prefix-index.js';
import { ResidualCache } from './residual.js';
import { TokenLog } from './token-log.js';

/**
 * Rows in pages of a pool that many sequences share (Kwon et al. 2023): the block table names the page of each run of `pageSize` tokens. A page
 * that someone else holds too is copied before it is written. With an index, whole pages are learnt when they are committed, and a sequence that
 * begins like an earlier one adopts that one's pages.
 */
export class PagedCache implements KvCache {
  private table: Page[] = [];
  /** What the pass under way has changed in the table: its length before, and the shared page it copied. */
  private before: { pages: number; copied: Page | null } | null = null;
  private readonly log: TokenLog;
  readonly pool: PagePool;
  private readonly index: PrefixIndex | null;

  constructor(pool: PagePool, index: PrefixIndex | null, log = new TokenLog()) {
    this.pool = pool;
    this.index = index;
    this.log = log;
  }

  get next(): number {
    return this.log.next;
  }

  get ids(): Int32Array {
    return this.log.ids;
  }

  /** The block table: pages in order of position. */
  get pages(): readonly Page[] {
    return this.table;
  }

  begin(positions: Int32Array, ids: readonly number[]): void {
    this.log.expect(positions, ids);
    const filled = this.next % this.pool.pageSize;
    const shared = this.sharedLast();
    const fresh = this.takeFor(ids);
    this.before = { pages: this.table.length, copied: shared };
    if (shared) {
      const copy = fresh.shift()!;
      for (const [i, rows] of copy.layers.entries()) rows.copyFrom(shared.layers[i]!, 0, 0, filled);
      this.table[this.table.length - 1] = copy;
    }
    this.table.push(...fresh);
  }

  /** Notes the tokens and takes their pages, or does neither. */
  private takeFor(ids: readonly number[]): Page[] {
    this.log.begin(ids);
    try {
      return this.pool.take(this.pagesFor(ids.length));
    } catch (error) {
      this.log.abort();
      throw error;
    }
  }

  /** Pages that `count` more tokens take: new ones, and a copy of the last one if it is shared and not full. */
  pagesFor(count: number): number {
    const more = Math.ceil((this.next + count) / this.pool.pageSize) - this.table.length;
    return more + (count > 0 && this.sharedLast() ? 1 : 0);
  }

  private sharedLast(): Page | null {
    const last = this.next % this.pool.pageSize > 0 ? this.table.at(-1)! : null;
    return last && last.refs > 1 ? last : null;
  }

  write(layer: number, rows: StreamRows): void {
    const { pageSize } = this.pool;
    const end = this.next + this.log.begun;
    for (let at = this.next; at < end; ) {
      const page = this.table[Math.floor(at / pageSize)]!;
      if (page.refs !== 1) throw new Error(`page ${page.id} has ${page.refs} holders and must not be written`);
      const count = Math.min(pageSize - (at % pageSize), end - at);
      page.layers[layer]!.writeInto(at % pageSize, count, rows, at - this.next);
      at += count;
    }
  }

  blocks(layer: number): readonly CacheBlock[] {
    const blocks: CacheBlock[] = [];
    this.eachPage((page, from, count) => blocks.push(page.layers[layer]!.block(0, consecutive(from, count))));
    return blocks;
  }

  epochOf(): number {
    return 0;
  }

  commit(): void {
    if (this.before?.copied) this.pool.release(this.before.copied);
    this.before = null;
    const whole = Math.floor(this.next / this.pool.pageSize);
    this.log.commit();
    if (Math.floor(this.next / this.pool.pageSize) > whole) this.learn();
  }

  abort(): void {
    this.log.abort();
    if (!this.before) return;
    const { pages, copied } = this.before;
    for (const page of this.table.splice(pages)) this.pool.release(page);
    if (copied) this.pool.release(this.table.splice(pages - 1, 1, copied)[0]!);
    this.before = null;
  }

  rollback(position: number): Int32Array {
    this.log.expectEarlier(position);
    for (const page of this.table.splice(Math.ceil(position / this.pool.pageSize))) this.pool.release(page);
    return this.log.rollback(position);
  }

  fork(): PagedCache {
    this.log.expectIdle();
    const copy = new PagedCache(this.pool, this.index, this.log.fork());
    copy.table = this.table.map((page) => this.pool.share(page));
    return copy;
  }

  adopt(ids: readonly number[]): number {
    this.log.expectEmpty();
    this.table = (this.index?.match(Int32Array.from(ids)) ?? []).map((page) => this.pool.share(page));
    this.log.begin(ids.slice(0, this.table.length * this.pool.pageSize));
    this.log.commit();
    return this.next;
  }

  contents(): CacheContents {
    this.log.expectIdle();
    const positions = consecutive(0, this.next);
    const layers = this.pool.rowsFor(this.next).map((rows, layer) => {
      this.eachPage((page, from, count) => rows.copyFrom(page.layers[layer]!, 0, from, count));
      return { positions, rows };
    });
    return { ids: this.ids.slice(), layers, residual: null };
  }

  restore(contents: CacheContents): void {
    const { ids, layers } = contents;
    this.log.expectEmpty();
    expectNoResidual(contents);
    for (const layer of layers) expectAllRows(layer, ids.length);
    this.begin(consecutive(0, ids.length), [...ids]);
    try {
      for (const [layer, { rows }] of layers.entries()) {
        this.eachPage((page, from, count) => page.layers[layer]!.copyFrom(rows, from, 0, count));
      }
    } catch (error) {
      this.abort();
      throw error;
    }
    this.commit();
  }

  /** Each page with the position of its first token, and how many tokens it holds. */
  private eachPage(act: (page: Page, from: number, count: number) => void): void {
    const { pageSize } = this.pool;
    const end = this.next + this.log.begun;
    for (const [i, page] of this.table.entries()) act(page, i * pageSize, Math.min(pageSize, end - i * pageSize));
  }

  release(): void {
    this.rollback(0);
  }

  /** A page that several sequences hold counts in each of them; the pool says what all of them take together. */
  bytes(): { used: number; allocated: number } {
    const { pageBytes, pageSize } = this.pool;
    return { used: (this.next * pageBytes) / pageSize, allocated: this.table.length * pageBytes };
  }

  /** Lets the index know the whole pages, and holds its own where it knew equal ones. */
  private learn(): void {
    if (!this.index) return;
    const { pageSize } = this.pool;
    const whole = Math.floor(this.next / pageSize);
    const kept = this.index.insert(this.ids.subarray(0, whole * pageSize), this.table.slice(0, whole));
    for (const [i, page] of kept.entries()) {
      const own = this.table[i]!;
      if (own === page) continue;
      this.table[i] = this.pool.share(page);
      this.pool.release(own);
    }
  }
}

/**
 * Several sequences begin together, or none does: a pool that has room for the first alone would evict for it in vain.
 * @throws RequestError, and changes nothing, if a pool has not the pages that all of them need
 */
export function expectRoomTogether(requests: readonly { readonly cache: KvCache; readonly tokens: number }[]): void {
  const pages = new Map<PagePool, number>();
  for (const { cache: asked, tokens: fed } of requests) {
    const residual = asked instanceof ResidualCache;
    const [cache, tokens] = residual ? [asked.older, asked.handedOver(fed)] : [asked, fed];
    if (!(cache instanceof PagedCache)) continue;
    pages.set(cache.pool, (pages.get(cache.pool) ?? 0) + cache.pagesFor(tokens));
  }
  for (const [pool, count] of pages) pool.expectRoom(count);
}

/** What several sequences of a pool take: a page that some of them share counts once, with the most rows that one of them has in it. */
export function bytesOfPages(
  caches: readonly PagedCache[],
  { pageSize, pageBytes }: PagePool,
): { used: number; allocated: number } {
  const rows = new Map<Page, number>();
  for (const { pages, next } of caches) {
    for (const [i, page] of pages.entries()) {
      rows.set(page, Math.max(Math.min(pageSize, next - i * pageSize), rows.get(page) ?? 0));
    }
  }
  const used = [...rows.values()].reduce((sum, count) => sum + count, 0);
  return { used: (used * pageBytes) / pageSize, allocated: rows.size * pageBytes };
}
