import type { Page } from './page-pool.js';

/** Finds pages that hold the rows of a beginning of some tokens, for sequences that begin alike. It holds each page that it knows. */
export interface PrefixIndex {
  /** The whole pages of the longest known beginning, in order. They are not held for the caller, who shares them at once. */
  match(ids: Int32Array): Page[];
  /**
   * Learns a sequence's whole pages (`ids` fill them exactly). @returns the pages that hold these tokens from now on: known ones in place of
   * given ones where an equal beginning was known already
   */
  insert(ids: Int32Array, pages: readonly Page[]): Page[];
  /** Lets go of the page whose loss costs least, if any is held by the index alone. @returns whether there was one */
  evict(): boolean;
  /** Pages that the index alone holds. A sequence that holds a page holds all before it, so every one of them can be evicted. */
  readonly idle: number;
  /** Pages that are known. */
  readonly size: number;
}
