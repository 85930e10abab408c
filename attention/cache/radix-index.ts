import type { Page, PagePool } from './page-pool.js';
import type { PrefixIndex } from './prefix-index.js';

/** A run of whole pages that every sequence known to pass here has in common, up to the next parting. */
interface Node {
  /** Tokens of `pages`: pages.length x page size. */
  ids: Int32Array;
  pages: Page[];
  parent: Node | null;
  /** By the tokens of their first page. */
  readonly children: Map<string, Node>;
  lastUsed: number;
}

/**
 * A radix tree over whole pages (Zheng et al. 2023, "SGLang", section 3, RadixAttention): sequences that begin alike share the way from the root,
 * a run is split where they part, and unreferenced leaves go first, the least recently used one before others.
 */
export class RadixIndex implements PrefixIndex {
  private readonly root: Node = { ids: new Int32Array(0), pages: [], parent: null, children: new Map(), lastUsed: 0 };
  private readonly pool: PagePool;
  private clock = 0;
  size = 0;

  constructor(pool: PagePool) {
    this.pool = pool;
  }

  match(ids: Int32Array): Page[] {
    const pages: Page[] = [];
    for (const { node, common } of this.walk(ids)) pages.push(...node.pages.slice(0, common));
    return pages;
  }

  insert(ids: Int32Array, pages: readonly Page[]): Page[] {
    const { pageSize } = this.pool;
    const known: Page[] = [];
    let last = this.root;
    for (const { node, common } of this.walk(ids)) {
      last = common < node.pages.length ? this.split(node, common) : node;
      known.push(...last.pages);
    }
    const fresh = pages.slice(known.length);
    if (fresh.length > 0) this.attach(last, ids.slice(known.length * pageSize, pages.length * pageSize), fresh);
    return [...known, ...fresh];
  }

  evict(): boolean {
    let oldest: Node | null = null;
    for (const leaf of this.nodes()) {
      if (leaf.children.size > 0 || leaf.pages.at(-1)!.refs > 1) continue;
      if (!oldest || leaf.lastUsed < oldest.lastUsed) oldest = leaf;
    }
    if (oldest) this.dropLastPage(oldest);
    return oldest !== null;
  }

  get idle(): number {
    let idle = 0;
    for (const { pages } of this.nodes()) {
      for (const { refs } of pages) if (refs === 1) idle++;
    }
    return idle;
  }

  /** The nodes on the way that these tokens share, each with the number of its pages that they share. Marks them as used. */
  private *walk(ids: Int32Array): Generator<{ node: Node; common: number }> {
    const { pageSize } = this.pool;
    const now = ++this.clock;
    let [node, at] = [this.root, 0];
    for (;;) {
      node.lastUsed = now;
      const child = node.children.get(this.keyOf(ids, at));
      if (!child) return;
      child.lastUsed = now;
      const whole = Math.floor((ids.length - at) / pageSize);
      let common = 0;
      while (common < Math.min(whole, child.pages.length) && this.samePage(child.ids, common * pageSize, ids, at)) {
        common++;
        at += pageSize;
      }
      const full = common === child.pages.length;
      yield { node: child, common };
      if (!full) return;
      node = child;
    }
  }

  /** Cuts a node after some of its pages, at least one. @returns the upper part */
  private split(node: Node, pages: number): Node {
    const at = pages * this.pool.pageSize;
    const upper: Node = {
      ids: node.ids.slice(0, at),
      pages: node.pages.slice(0, pages),
      parent: node.parent,
      children: new Map(),
      lastUsed: node.lastUsed,
    };
    node.parent!.children.set(this.keyOf(upper.ids, 0), upper);
    node.ids = node.ids.slice(at);
    node.pages = node.pages.slice(pages);
    node.parent = upper;
    upper.children.set(this.keyOf(node.ids, 0), node);
    return upper;
  }

  /** Adds pages below a node: to its own run if it is a leaf that nothing parts from, else as a child. */
  private attach(parent: Node, ids: Int32Array, pages: readonly Page[]): void {
    for (const page of pages) this.pool.share(page);
    this.size += pages.length;
    if (parent !== this.root && parent.children.size === 0) {
      parent.ids = Int32Array.of(...parent.ids, ...ids);
      parent.pages.push(...pages);
      return;
    }
    const child: Node = { ids, pages: [...pages], parent, children: new Map(), lastUsed: this.clock };
    parent.children.set(this.keyOf(ids, 0), child);
  }

  private dropLastPage(leaf: Node): void {
    const key = this.keyOf(leaf.ids, 0);
    this.pool.release(leaf.pages.pop()!);
    leaf.ids = leaf.ids.slice(0, leaf.pages.length * this.pool.pageSize);
    this.size--;
    if (leaf.pages.length === 0) leaf.parent!.children.delete(key);
  }

  private *nodes(node = this.root): Generator<Node> {
    if (node !== this.root) yield node;
    for (const child of node.children.values()) yield* this.nodes(child);
  }

  private keyOf(ids: Int32Array, from: number): string {
    return ids.subarray(from, from + this.pool.pageSize).join(',');
  }

  private samePage(a: Int32Array, aFrom: number, b: Int32Array, bFrom: number): boolean {
    for (let i = 0; i < this.pool.pageSize; i++) if (a[aFrom + i] !== b[bFrom + i]) return false;
    return true;
  }
}
