import { RequestError } from '../../src/errors.js';
import { type CacheBlock, consecutive, type LayerSchema, type StreamRows } from '../streams.js';
import type { CacheOptions, LayerContents } from './cache.js';
import { asStreamRows } from './contents.js';
import type { LayerStore } from './layered.js';
import { LayerRows } from './rows.js';

/**
 * The rows that a window can still see, in memory that the window bounds: the sinks, if the rule has any, and a ring in which the row at
 * position p lies in slot p mod span, over the row that was `span` positions before it.
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
  private readonly schema: LayerSchema;
  private readonly options: CacheOptions;

  constructor(schema: LayerSchema, options: CacheOptions) {
    this.schema = schema;
    this.options = options;
    const rows = () => new LayerRows(schema.streams, options.precision, options.dtype);
    [this.sinks, this.ring, this.fresh] = [rows(), rows(), rows()];
    this.oldest = schema.retention.sinks;
  }

  begin(count: number): void {
    const { sinks, span } = this.schema.retention;
    growTo(this.sinks, Math.min(sinks, this.next + count), sinks);
    growTo(this.ring, Math.min(span, this.next + count), span); // until it is full, the row at position p lies in slot p
    if (count > this.fresh.capacity) this.fresh.resize(count, 0);
    this.begun = count;
  }

  write(rows: StreamRows): void {
    this.fresh.writeInto(0, this.begun, rows);
  }

  blocks(): readonly CacheBlock[] {
    const blocks = [
      this.sinks.block(0, consecutive(0, Math.min(this.schema.retention.sinks, this.next))),
      ...this.parts().map(({ slot, from, count }) => this.ring.block(slot, consecutive(from, count))),
      this.fresh.block(0, consecutive(this.next, this.begun)),
    ];
    return blocks.filter(({ positions }) => positions.length > 0);
  }

  commit(): void {
    const { sinks, span } = this.schema.retention;
    const end = this.next + this.begun;
    const toSinks = Math.max(Math.min(sinks, end) - this.next, 0);
    if (toSinks > 0) this.sinks.copyFrom(this.fresh, 0, this.next, toSinks);
    for (let position = Math.max(this.next, sinks, end - span); position < end; position++) {
      this.ring.copyFrom(this.fresh, position - this.next, position % span, 1);
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
    if (this.fresh.capacity > this.schema.retention.span) this.fresh.resize(0, 0);
  }

  expectRollback(position: number): void {
    const { retention } = this.schema;
    const needed = Math.max(retention.oldest(position), retention.sinks);
    if (needed >= this.oldest || needed >= position) return;
    throw new RequestError(
      `The cache cannot go back from position ${this.next} to ${position}: a token there sees position ${needed}, and the ring of ` +
        `${retention.span} goes back to ${this.oldest} only; feed the sequence again, or choose a cache that keeps all tokens.`,
    );
  }

  rollback(position: number): void {
    this.next = position;
    this.oldest = Math.min(this.oldest, Math.max(position, this.schema.retention.sinks));
  }

  load(contents: LayerContents, next: number): void {
    const { sinks, span } = this.schema.retention;
    const rowOf = new Map([...contents.positions].map((position, row) => [position, row]));
    const from = this.expectWindow(rowOf, next);
    const rows = asStreamRows(contents, this.schema.streams);
    growTo(this.sinks, Math.min(sinks, next), sinks);
    growTo(this.ring, Math.min(span, next), span);
    for (let p = 0; p < Math.min(sinks, next); p++) this.sinks.writeInto(p, 1, rows, rowOf.get(p)!);
    for (let p = from; p < next; p++) this.ring.writeInto(p % span, 1, rows, rowOf.get(p)!);
    this.next = next;
    this.oldest = from;
  }

  /**
   * The position from which on a ring of `next` tokens can be filled: it goes back as far as there are rows, and what the next token
   * sees must be among them. @throws RequestError naming the position that is not
   */
  private expectWindow(rowOf: ReadonlyMap<number, number>, next: number): number {
    const { sinks, span, oldest } = this.schema.retention;
    let from = Math.max(next, sinks);
    while (from > Math.max(sinks, next - span) && rowOf.has(from - 1)) from--;
    const lost = consecutive(0, Math.min(sinks, next)).find((position) => !rowOf.has(position));
    const missing = lost ?? (from > Math.max(oldest(next), sinks) ? from - 1 : undefined);
    if (missing === undefined || missing >= next) return from;
    throw new RequestError(`The saved cache has no row for position ${missing}, which this one would need.`);
  }

  fork(): LayerStore {
    const copy = new RingStore(this.schema, this.options);
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
    const held = Math.min(this.next, this.schema.retention.sinks) + Math.max(this.next - this.oldest, 0);
    const capacity = this.sinks.capacity + this.ring.capacity + this.fresh.capacity;
    return { used: held * this.ring.tokenBytes, allocated: capacity * this.ring.tokenBytes };
  }

  /** The ring's rows in order of position, as runs of slots. */
  private parts(): { slot: number; from: number; count: number }[] {
    const { span } = this.schema.retention;
    const count = Math.max(this.next - this.oldest, 0);
    const slot = this.oldest % span;
    const first = Math.min(count, span - slot);
    return [
      { slot, from: this.oldest, count: first },
      { slot: 0, from: this.oldest + first, count: count - first },
    ];
  }
}

/** Doubles a store until it holds `needed` slots, up to `most`: a window need not be full, and may be longer than any text. */
function growTo(rows: LayerRows, needed: number, most: number): void {
  if (needed > rows.capacity) rows.resize(Math.min(Math.max(needed, 2 * rows.capacity, 16), most), rows.capacity);
}
