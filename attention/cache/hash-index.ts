import type { Page, PagePool } from './page-pool.js';
import type { PrefixIndex } from './prefix-index.js';

/** A number for a page's tokens and all that come before them. @param parent the number of the page before, 0 for none */
export type PrefixHash = (parent: number, ids: Int32Array) => number;

/** FNV-1a (Fowler, Noll, Vo) over the parent's number and the tokens, 32 bits. It need not be strong: every hit is confirmed. */
export const fnv1a: PrefixHash = (parent, ids) => {
  let hash = 0x811c9dc5;
  for (const word of [parent, ...ids]) {
    for (let shift = 0; shift < 32; shift += 8) hash = Math.imul(hash ^ ((word >>> shift) & 255), 0x01000193);
  }
  return hash >>> 0;
};

interface Entry {
  readonly hash: number;
  readonly parent: Entry | null;
  readonly ids: Int32Array;
  readonly page: Page;
  children: number;
  lastUsed: number;
}

/**
 * Whole pages by a hash of (the page before, tokens), as vLLM's automatic prefix caching keeps them. A hash only says where to look: a page is
 * taken if its tokens are the same one by one and the page before it is the one just confirmed, so no collision can give wrong rows.
 */
export class HashIndex implements PrefixIndex {
  private readonly buckets = new Map<number, Entry[]>();
  private readonly pool: PagePool;
  private readonly hash: PrefixHash;
  private clock = 0;
  size = 0;

  constructor(pool: PagePool, hash: PrefixHash = fnv1a) {
    this.pool = pool;
    this.hash = hash;
  }

  match(ids: Int32Array): Page[] {
    const pages: Page[] = [];
    let parent: Entry | null = null;
    for (const part of this.parts(ids)) {
      const entry = this.find(parent, part);
      if (!entry) break;
      entry.lastUsed = ++this.clock;
      pages.push(entry.page);
      parent = entry;
    }
    return pages;
  }

  insert(ids: Int32Array, pages: readonly Page[]): Page[] {
    let parent: Entry | null = null;
    return this.parts(ids).map((part, i) => {
      const entry: Entry = this.find(parent, part) ?? this.add(parent, part, pages[i]!);
      entry.lastUsed = ++this.clock;
      parent = entry;
      return entry.page;
    });
  }

  evict(): boolean {
    let oldest: Entry | null = null;
    for (const bucket of this.buckets.values()) {
      for (const entry of bucket) {
        if (entry.page.refs > 1 || entry.children > 0) continue; // without it, the pages after it could not be reached
        if (!oldest || entry.lastUsed < oldest.lastUsed) oldest = entry;
      }
    }
    if (oldest) this.remove(oldest);
    return oldest !== null;
  }

  get idle(): number {
    let idle = 0;
    for (const bucket of this.buckets.values()) {
      for (const { page } of bucket) if (page.refs === 1) idle++;
    }
    return idle;
  }

  /** The whole pages' tokens. */
  private parts(ids: Int32Array): Int32Array[] {
    const { pageSize } = this.pool;
    return Array.from({ length: Math.floor(ids.length / pageSize) }, (_, i) =>
      ids.subarray(i * pageSize, (i + 1) * pageSize),
    );
  }

  private find(parent: Entry | null, ids: Int32Array): Entry | undefined {
    const bucket = this.buckets.get(this.hash(parent?.hash ?? 0, ids));
    return bucket?.find((entry) => entry.parent === parent && entry.ids.every((id, i) => id === ids[i]));
  }

  private add(parent: Entry | null, ids: Int32Array, page: Page): Entry {
    const hash = this.hash(parent?.hash ?? 0, ids);
    const entry = { hash, parent, ids: ids.slice(), page: this.pool.share(page), children: 0, lastUsed: 0 };
    const bucket = this.buckets.get(hash);
    if (bucket) bucket.push(entry);
    else this.buckets.set(hash, [entry]);
    if (parent) parent.children++;
    this.size++;
    return entry;
  }

  private remove(entry: Entry): void {
    const rest = this.buckets.get(entry.hash)!.filter((other) => other !== entry);
    if (rest.length > 0) this.buckets.set(entry.hash, rest);
    else this.buckets.delete(entry.hash);
    if (entry.parent) entry.parent.children--;
    this.size--;
    this.pool.release(entry.page);
  }
}
