import { RequestError } from '../../src/errors.js';
import { type CacheBlock, consecutive, type StreamRows } from '../streams.js';
import type { LayerContents } from './cache.js';
import { bytesOf } from './codec/layout.js';
import { type LayerPlan, newRows } from './layer-plan.js';
import type { LayerStore } from './layered.js';
import type { LayerRows } from './rows.js';

/**
 * The rows that a window can still see, in memory that the window bounds: the sinks, if the rule has any, and a ring in which the row at
 * position p lies in slot p mod span, over the row that was `span` positions before it. Where rows share scales in runs, sinks and ring hold whole runs.
 *
 * The rows of a pass stay beside the ring until it commits: its first token may still see what its last one will overwrite,
 * and a pass that fails must change nothing. So blocks are: sinks, the ring in one or two parts, and what is new.
 */
export class RingStore implements LayerStore {
  private next = 0;
  private begun = 0;
  /** The oldest position in the ring. */
  private oldest: number;
  private sinks: LayerRows;
  private ring: LayerRows;
  private fresh: LayerRows;
  private readonly plan: LayerPlan;
  /** Slots of each. */
  private readonly size: { readonly sinks: number; readonly span: number };

  constructor(plan: LayerPlan) {
    this.plan = plan;
    this.size = ringSize(plan);
    [this.sinks, this.ring, this.fresh] = [newRows(plan), newRows(plan), newRows(plan)];
    this.oldest = this.size.sinks;
  }

  begin(count: number): void {
    const { sinks, span } = this.size;
    this.sinks.growTo(Math.min(sinks, this.next + count), sinks);
    this.ring.growTo(Math.min(span, this.next + count), span); // until it is full, the row at position p lies in slot p
    if (count > this.fresh.capacity) this.fresh.resize(count, 0);
    this.begun = count;
  }

  write(rows: StreamRows): void {
    this.fresh.writeInto(0, this.begun, rows);
  }

  blocks(): readonly CacheBlock[] {
    const blocks = [
      this.sinks.block(0, consecutive(0, Math.min(this.size.sinks, this.next))),
      ...this.parts().map(({ slot, from, count }) => this.ring.block(slot, consecutive(from, count))),
      this.fresh.block(0, consecutive(this.next, this.begun)),
    ];
    return blocks.filter(({ positions }) => positions.length > 0);
  }

  commit(): void {
    const { sinks, span } = this.size;
    const { alignment } = this.plan.layout;
    const end = this.next + this.begun;
    const toSinks = Math.max(Math.min(sinks, end) - this.next, 0);
    if (toSinks > 0) this.sinks.copyFrom(this.fresh, 0, this.next, toSinks);
    for (let position = Math.max(this.next, sinks, end - span); position < end; position += alignment) {
      this.ring.copyFrom(this.fresh, position - this.next, position % span, alignment);
    }
    this.oldest = Math.max(this.oldest, end - span);
    this.next = end;
    this.endPass();
  }

  abort(): void {
    this.endPass();
  }

  /** A pass larger than the window leaves no memory behind. */
  private endPass(): void {
    this.begun = 0;
    const kept = freshAfter(this.fresh.capacity, this.size);
    if (kept < this.fresh.capacity) this.fresh.resize(kept, 0);
  }

  expectRollback(position: number): void {
    const { retention } = this.plan;
    const needed = Math.max(retention.oldest(position), this.size.sinks);
    if (needed >= this.oldest || needed >= position) return;
    throw new RequestError(
      `The cache cannot go back from position ${this.next} to ${position}: a token there sees position ${needed}, and the ring of ` +
        `${this.size.span} goes back to ${this.oldest} only; feed the sequence again, or choose a cache that keeps all tokens.`,
    );
  }

  rollback(position: number): void {
    this.next = position;
    this.oldest = Math.min(this.oldest, Math.max(position, this.size.sinks));
  }

  load(contents: LayerContents, next: number): void {
    const { sinks, span } = this.size;
    const { alignment } = this.plan.layout;
    const rowOf = new Map([...contents.positions].map((position, row) => [position, row]));
    const from = this.expectWindow(rowOf, next);
    this.sinks.growTo(Math.min(sinks, next), sinks);
    this.ring.growTo(Math.min(span, next), span);
    const load = (target: LayerRows, slot: number, p: number) =>
      target.copyFrom(contents.rows, rowOf.get(p)!, slot, alignment);
    for (let p = 0; p < Math.min(sinks, next); p += alignment) load(this.sinks, p, p);
    for (let p = from; p < next; p += alignment) load(this.ring, p % span, p);
    this.next = next;
    this.oldest = from;
  }

  /**
   * The position from which on a ring of `next` tokens can be filled: it goes back as far as there are rows, and what the next token
   * sees must be among them. @throws RequestError naming the position that is not
   */
  private expectWindow(rowOf: ReadonlyMap<number, number>, next: number): number {
    const { sinks, span } = this.size;
    const { oldest } = this.plan.retention;
    let from = Math.max(next, sinks);
    while (from > Math.max(sinks, next - span) && rowOf.has(from - 1)) from--;
    const lost = consecutive(0, Math.min(sinks, next)).find((position) => !rowOf.has(position));
    const missing = lost ?? (from > Math.max(oldest(next), sinks) ? from - 1 : undefined);
    if (missing === undefined || missing >= next) return from;
    throw new RequestError(`The saved cache has no row for position ${missing}, which this one would need.`);
  }

  contents(): LayerContents {
    const [sinks, parts] = [Math.min(this.next, this.size.sinks), this.parts()];
    const held = parts.reduce((sum, { count }) => sum + count, sinks);
    const rows = newRows(this.plan, held);
    rows.copyFrom(this.sinks, 0, 0, sinks);
    let at = sinks;
    for (const { slot, count } of parts) {
      rows.copyFrom(this.ring, slot, at, count);
      at += count;
    }
    const positions = [...consecutive(0, sinks), ...consecutive(this.oldest, held - sinks)];
    return { positions: Int32Array.from(positions), rows };
  }

  fork(): LayerStore {
    const copy = new RingStore(this.plan);
    copy.sinks = this.sinks.copy(this.sinks.capacity);
    copy.ring = this.ring.copy(this.ring.capacity);
    copy.next = this.next;
    copy.oldest = this.oldest;
    return copy;
  }

  release(): void {
    this.rollback(0);
    for (const rows of [this.sinks, this.ring, this.fresh]) rows.resize(0, 0);
  }

  bytes(): { used: number; allocated: number } {
    const held = Math.min(this.next, this.size.sinks) + Math.max(this.next - this.oldest, 0);
    const allocated = this.sinks.bytes + this.ring.bytes + this.fresh.bytes;
    return { used: bytesOf(this.plan.layout, held), allocated };
  }

  /** The ring's rows in order of position, as runs of slots. */
  private parts(): { slot: number; from: number; count: number }[] {
    const { span } = this.size;
    const count = Math.max(this.next - this.oldest, 0);
    const slot = this.oldest % span;
    const first = Math.min(count, span - slot);
    return [
      { slot, from: this.oldest, count: first },
      { slot: 0, from: this.oldest + first, count: count - first },
    ];
  }
}

/** Slots that are kept for the rows of the next pass, after one that had this many. */
export function freshAfter(slots: number, { span }: { readonly span: number }): number {
  return slots > span ? 0 : slots;
}

/** Slots of the sinks and of the ring: what the rule needs, in whole runs of rows that share scales. */
export function ringSize({ retention, layout: { alignment } }: LayerPlan): { sinks: number; span: number } {
  const whole = (rows: number) => Math.ceil(rows / alignment) * alignment;
  return { sinks: whole(retention.sinks), span: whole(retention.span) };
}
