/**
 * The newest tokens as they were computed, and older ones in another cache, which stores them quantised: the residual of KIVI (Liu et al.
 * 2024, algorithm 1) around any cache. It is what lets keys be quantised by channel, over whole groups of tokens.
 *
 * The query at position p stands at the end of l = p + 1 tokens, and reads the first floor(l / R) R of them quantised, the others, fewer than
 * R, as they are. So what it reads depends on p alone, not on how tokens were fed; in a long pass queries on either side of a multiple of R read
 * the tokens between them differently. Rows enter the other cache by blocks of R, and one token late: until then the cache can go back by a token.
 */
import { RequestError } from '../../src/errors.js';
import { rowsOf } from '../../src/tensor/tensor.js';
import { between, type CacheBlock, consecutive, type StreamRows } from '../streams.js';
import { type CacheBytes, type CacheContents, type KvCache, sumOfBytes } from './cache.js';
import { bytesOf } from './codec/layout.js';
import { expectPreallocated } from './contiguous.js';
import { type LayerPlan, newRows } from './layer-plan.js';
import { expectSameForm, type LayerRows } from './rows.js';
import { TokenLog } from './token-log.js';

/** Of `length` tokens, those in whole blocks of the residual: floor(l / R) R. */
export function wholeBlocks(length: number, residual: number): number {
  return Math.floor(length / residual) * residual;
}

export interface ResidualPlan {
  /** R */
  readonly residual: number;
  /** How the other cache stores each layer. */
  readonly stored: readonly LayerPlan[];
  /** How rows are kept as they are. */
  readonly exact: readonly LayerPlan[];
  /** Tokens that are allocated at once, and the most that fit; null: as many as come. */
  readonly preallocated: number | null;
}

export class ResidualCache implements KvCache {
  /** Holds the oldest tokens. Their number is a multiple of R. */
  readonly older: KvCache;
  /** Of each layer, the rows from `older.next` on. */
  private readonly newest: readonly LayerRows[];
  private readonly log: TokenLog;
  private readonly plan: ResidualPlan;
  /** Tokens that the pass under way hands over to the older ones. */
  private handed = 0;

  constructor(older: KvCache, plan: ResidualPlan, log = new TokenLog(), newest?: readonly LayerRows[]) {
    this.older = older;
    this.plan = plan;
    this.log = log;
    const first = Math.min(plan.residual, plan.preallocated ?? 0);
    this.newest = newest ?? plan.exact.map((layer) => newRows(layer, first));
  }

  get next(): number {
    return this.log.next;
  }

  get ids(): Int32Array {
    return this.log.ids;
  }

  /** How many tokens are kept as they are. */
  get kept(): number {
    return this.next - this.older.next;
  }

  /** How many tokens a pass of `count` hands over: whole blocks, all that the token before its last one reads quantised. */
  handedOver(count: number): number {
    return Math.max(this.blocksBefore(this.next + count - 1) - this.older.next, 0);
  }

  private blocksBefore(length: number): number {
    return wholeBlocks(length, this.plan.residual);
  }

  begin(positions: Int32Array, ids: readonly number[]): void {
    this.log.expect(positions, ids);
    const handed = this.handedOver(ids.length);
    const end = this.next + ids.length;
    if (this.plan.preallocated !== null) expectPreallocated(this.plan.preallocated, end);
    this.log.begin(ids);
    try {
      const [from, needed] = [this.older.next, end - this.older.next];
      for (const rows of this.newest) rows.growTo(needed, Math.max(needed, this.plan.residual), this.kept);
      if (handed > 0) this.older.begin(consecutive(from, handed), [...this.log.all.subarray(from, from + handed)]);
    } catch (error) {
      this.log.abort();
      this.shrink();
      throw error;
    }
    this.handed = handed;
  }

  write(layer: number, rows: StreamRows): void {
    this.newest[layer]!.writeInto(this.kept, this.log.begun, rows);
    if (this.handed > 0) this.older.write(layer, this.rowsFrom(layer, 0, this.handed));
  }

  /** Newest rows [from, to) of a layer. */
  private rowsFrom(layer: number, from: number, to: number): StreamRows {
    const block = this.newest[layer]!.block(0, consecutive(0, to));
    const streams = this.plan.exact[layer]!.layout.streams;
    return Object.fromEntries(streams.map(({ schema: { name } }) => [name, rowsOf(block.read(name), from, to)]));
  }

  blocks(layer: number, query = this.next + this.log.begun - 1): readonly CacheBlock[] {
    const [first, end] = [this.older.next, this.next + this.log.begun];
    const quantised = this.blocksBefore(query + 1);
    const inOlder = Math.min(quantised, first + this.handed);
    const exact = this.newest[layer]!.block(0, consecutive(first, end - first));
    return [
      ...this.older.blocks(layer).map((block) => between(block, 0, inOlder)),
      this.quantisedBlock(layer, inOlder, quantised),
      between(exact, quantised, end),
    ].filter(({ positions }) => positions.length > 0);
  }

  /** Rows that this query reads quantised, and that are not handed over yet. */
  private quantisedBlock(layer: number, from: number, to: number): CacheBlock {
    const rows = newRows(this.plan.stored[layer]!, to - from);
    const first = this.older.next;
    if (to > from) rows.writeInto(0, to - from, this.rowsFrom(layer, from - first, to - first));
    return { ...rows.block(0, consecutive(from, to - from)), stored: null };
  }

  epochOf(query: number): number {
    return this.blocksBefore(query + 1);
  }

  commit(): void {
    if (this.handed > 0) {
      const kept = this.kept + this.log.begun - this.handed;
      for (const rows of this.newest) rows.copyFrom(rows, this.handed, 0, kept);
      this.older.commit();
    }
    this.handed = 0;
    this.log.commit();
    this.shrink();
  }

  abort(): void {
    if (this.handed > 0) this.older.abort();
    this.handed = 0;
    this.log.abort();
    this.shrink();
  }

  /** A long pass leaves no memory behind. */
  private shrink(): void {
    const most = this.plan.residual;
    for (const rows of this.newest) if (rows.capacity > most) rows.resize(most, this.kept);
  }

  rollback(position: number): Int32Array {
    this.log.expectEarlier(position);
    if (position < this.older.next) {
      this.expectBlock(position);
      this.older.rollback(position);
    }
    return this.log.rollback(position);
  }

  private expectBlock(position: number): void {
    const { residual } = this.plan;
    if (position % residual === 0) return;
    throw new RequestError(
      `The cache cannot go back from position ${this.next} to ${position}: the token there reads those from ${this.blocksBefore(position)} on as ` +
        `they were computed, and they are stored quantised by now; go back to a multiple of ${residual}, or feed the sequence again.`,
    );
  }

  fork(): KvCache {
    this.log.expectIdle();
    const newest = this.newest.map((rows) => rows.copy(this.kept));
    return new ResidualCache(this.older.fork(), this.plan, this.log.fork(), newest);
  }

  /** Only whole blocks are of use: what follows them would be needed as it was computed. */
  adopt(ids: readonly number[]): number {
    this.log.expectEmpty();
    const adopted = this.blocksBefore(this.older.adopt(ids));
    this.older.rollback(adopted);
    this.log.begin(ids.slice(0, adopted));
    this.log.commit();
    return adopted;
  }

  contents(): CacheContents {
    this.log.expectIdle();
    const positions = consecutive(this.older.next, this.kept);
    const residual = this.newest.map((rows) => ({ positions, rows: rows.copy(this.kept, this.kept) }));
    return { ids: this.ids.slice(), layers: this.older.contents().layers, residual };
  }

  restore({ ids, layers, residual }: CacheContents): void {
    this.log.expectEmpty();
    if (!residual) throw new RequestError('The saved cache has no residual, and this one would need it.');
    for (const [layer, { rows }] of layers.entries()) expectSameForm(rows.layout, this.plan.stored[layer]!.layout);
    const kept = residual[0]?.positions.length ?? 0;
    const older = ids.subarray(0, ids.length - kept);
    if (this.plan.preallocated !== null) expectPreallocated(this.plan.preallocated, ids.length);
    for (const rows of this.newest) rows.growTo(kept, Math.max(kept, this.plan.residual), 0);
    this.older.restore({ ids: older, layers, residual: null });
    for (const [layer, rows] of this.newest.entries()) rows.copyFrom(residual[layer]!.rows, 0, 0, kept);
    this.log.begin([...ids]);
    this.log.commit();
  }

  release(): void {
    this.log.expectIdle();
    this.older.release();
    this.log.rollback(0);
    if (this.plan.preallocated === null) for (const rows of this.newest) rows.resize(0, 0);
  }

  bytes(): CacheBytes {
    return sumOfBytes([this.older.bytes(), this.newestBytes()]);
  }

  /** What the rows take that are kept as they are. */
  newestBytes(): CacheBytes {
    const used = this.plan.exact.reduce((sum, { layout }) => sum + bytesOf(layout, this.kept), 0);
    return { used, allocated: this.newest.reduce((sum, { bytes }) => sum + bytes, 0) };
  }
}
