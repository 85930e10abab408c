import { RequestError } from '../../src/errors.js';
import { type CacheBlock, consecutive, type StreamRows } from '../streams.js';
import type { LayerContents } from './cache.js';
import { bytesOf } from './codec/layout.js';
import { expectAllRows } from './contents.js';
import { type Growth, grown } from './growth.js';
import { type LayerPlan, newRows } from './layer-plan.js';
import type { LayerStore } from './layered.js';
import type { LayerRows } from './rows.js';

/** Of arrays that are not preallocated. */
export const CONTIGUOUS_GROWTH: Growth = { first: 64, most: Number.POSITIVE_INFINITY, run: 1 };

/** All rows in one array a stream, in order of position, so one block. */
export class ContiguousStore implements LayerStore {
  private length = 0;
  private begun = 0;
  private rows: LayerRows;
  private readonly plan: LayerPlan;
  private readonly preallocated: number | null;

  /** @param preallocated tokens that are allocated at once, and the most that fit; null: the arrays double when they are full */
  constructor(plan: LayerPlan, preallocated: number | null) {
    this.plan = plan;
    this.preallocated = preallocated;
    this.rows = newRows(plan, preallocated ?? 0);
  }

  begin(count: number): void {
    const needed = this.length + count;
    if (needed > this.rows.capacity) {
      if (this.preallocated !== null) expectPreallocated(this.preallocated, needed);
      this.rows.resize(grown(this.rows.capacity, needed, CONTIGUOUS_GROWTH), this.length);
    }
    this.begun = count;
  }

  write(rows: StreamRows): void {
    this.rows.writeInto(this.length, this.begun, rows);
  }

  blocks(): readonly CacheBlock[] {
    return [this.rows.block(0, consecutive(0, this.length + this.begun))];
  }

  commit(): void {
    this.length += this.begun;
    this.begun = 0;
  }

  abort(): void {
    this.begun = 0;
  }

  expectRollback(): void {}

  rollback(position: number): void {
    this.length = position;
  }

  load(contents: LayerContents, next: number): void {
    expectAllRows(contents, next);
    this.begin(next);
    this.rows.copyFrom(contents.rows, 0, 0, next);
    this.commit();
  }

  contents(): LayerContents {
    return { positions: consecutive(0, this.length), rows: this.rows.copy(this.length, this.length) };
  }

  fork(): LayerStore {
    const copy = new ContiguousStore(this.plan, null);
    copy.rows = this.rows.copy(this.length);
    copy.length = this.length;
    return copy;
  }

  release(): void {
    this.length = 0;
    if (this.preallocated === null) this.rows.resize(0, 0);
  }

  bytes(): { used: number; allocated: number } {
    return { used: bytesOf(this.plan.layout, this.length), allocated: this.rows.bytes };
  }
}

/** @throws RequestError if more tokens are needed than a cache was preallocated for */
export function expectPreallocated(tokens: number, needed: number): void {
  if (needed <= tokens) return;
  throw new RequestError(
    `The cache was preallocated for ${tokens} tokens, and ${needed} are needed; raise cacheTokens (--cache-tokens), or choose contiguous, which grows.`,
  );
}
