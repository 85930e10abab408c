import { expectSize, RequestError, UsageError } from '../../src/errors.js';
import type { CacheOptions } from './cache.js';
import { bytesOf } from './codec/layout.js';
import { type LayerPlan, newRows, plansOf } from './layer-plan.js';
import type { LayerRows } from './rows.js';

/** Rows of `pageSize` consecutive tokens in all layers. Whoever holds a page counts in `refs`; a page with several holders is not written. */
export interface Page {
  readonly id: number;
  refs: number;
  /** One store for each layer; slot i holds the row of the page's i-th token. */
  readonly layers: readonly LayerRows[];
}

/**
 * The pages that all sequences of a model share (Kwon et al. 2023, "PagedAttention", section 4.2): reference counts, copy on write, and
 * pages that come back are used again. Every page is free or used: free + used = total.
 */
export class PagePool {
  readonly pageSize: number;
  /** The most pages that may exist. */
  readonly limit: number;
  private readonly plans: readonly LayerPlan[];
  private readonly free: Page[] = [];
  private made = 0;
  /** Who holds pages that nobody uses, and gives them back when there are no others. */
  lender: { readonly idle: number; evict(): boolean } | null = null;

  /** @param limit pages; Infinity: as many as are asked for @throws UsageError for sizes that are none */
  constructor(options: CacheOptions, pageSize: number, limit = Number.POSITIVE_INFINITY) {
    expectSize('pageSize (--page-size)', pageSize);
    if (limit !== Number.POSITIVE_INFINITY) expectSize('poolPages (--pool-pages)', limit);
    this.pageSize = pageSize;
    this.limit = limit;
    this.plans = plansOf(options);
    expectWholeRuns(this.plans, pageSize);
  }

  /** As many unused pages as asked for, each held once. @throws RequestError, and changes nothing, if there are not so many */
  take(count: number): Page[] {
    this.expectRoom(count);
    const taken: Page[] = [];
    try {
      while (taken.length < count) taken.push(this.takeOne());
      return taken;
    } catch (error) {
      for (const page of taken) this.release(page);
      throw error;
    }
  }

  /** @throws RequestError if there are not so many pages, neither unused nor held by the lender alone */
  expectRoom(count: number): void {
    const ready = this.free.length + this.limit - this.made;
    if (count <= ready || count <= ready + (this.lender?.idle ?? 0)) return;
    throw new RequestError(
      `${count} more pages of ${this.pageSize} tokens are needed, and of ${this.limit} all but ${ready} are in use; ` +
        'release a sequence, or raise poolPages (--pool-pages).',
    );
  }

  private takeOne(): Page {
    if (this.free.length === 0 && this.made >= this.limit) this.lender?.evict();
    const page = this.free.pop() ?? this.make();
    page.refs = 1;
    return page;
  }

  share(page: Page): Page {
    page.refs++;
    return page;
  }

  release(page: Page): void {
    if (page.refs <= 0) throw new Error(`page ${page.id} was released more often than it was held`);
    if (--page.refs === 0) this.free.push(page);
  }

  get total(): number {
    return this.made;
  }

  get used(): number {
    return this.made - this.free.length;
  }

  /** Pages that lie ready; the pool makes more up to its limit. */
  get unused(): number {
    return this.free.length;
  }

  /** Bytes of a page's rows. */
  get pageBytes(): number {
    return this.plans.reduce((sum, { layout }) => sum + bytesOf(layout, this.pageSize), 0);
  }

  private make(): Page {
    const layers = this.plans.map((plan) => newRows(plan, this.pageSize));
    return { id: this.made++, refs: 0, layers };
  }

  /** A page's worth of rows for each layer that no pool counts: for contents. */
  rowsFor(count: number): LayerRows[] {
    return this.plans.map((plan) => newRows(plan, count));
  }
}

/** @throws UsageError for pages that would cut runs of rows that share scales: what is in a page would depend on tokens after it */
function expectWholeRuns(plans: readonly LayerPlan[], pageSize: number): void {
  const run = Math.max(...plans.map(({ layout }) => layout.alignment));
  if (pageSize % run === 0) return;
  throw new UsageError(
    `Pages of ${pageSize} tokens would cut the groups of ${run} tokens whose channels share a scale; choose a multiple of ${run} ` +
      'for pageSize (--page-size), or a group (--kv-group) that divides it.',
  );
}
