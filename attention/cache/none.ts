import { RequestError } from '../../src/errors.js';
import type { CacheBlock, StreamRows } from '../streams.js';
import type { CacheOptions, KvCache } from './cache.js';
import { LayerRows } from './rows.js';
import { TokenLog } from './token-log.js';

/**
 * Keeps nothing from one pass to the next: `next` stays 0, so every pass must feed the whole sequence again. Inside a pass
 * it holds the rows of one layer, which that layer's attention needs.
 */
export class NoCache implements KvCache {
  readonly next = 0;
  readonly ids = new Int32Array(0);
  private readonly log = new TokenLog();
  private positions: Int32Array = new Int32Array(0);
  private readonly options: CacheOptions;
  private current: { layer: number; rows: LayerRows } | null = null;

  constructor(options: CacheOptions) {
    this.options = options;
  }

  begin(positions: Int32Array, ids: readonly number[]): void {
    this.log.expect(positions, ids);
    this.log.begin(ids);
    this.positions = positions;
  }

  write(layer: number, given: StreamRows): void {
    const { layers, precision, dtype } = this.options;
    const rows = new LayerRows(layers[layer]!.streams, precision, dtype);
    rows.resize(this.positions.length, 0);
    rows.writeInto(0, this.positions.length, given);
    this.current = { layer, rows };
  }

  blocks(layer: number): readonly CacheBlock[] {
    return this.current?.layer === layer ? [this.current.rows.block(0, this.positions)] : [];
  }

  commit(): void {
    this.abort();
  }

  abort(): void {
    this.log.abort();
    this.positions = new Int32Array(0);
    this.current = null;
  }

  rollback(position: number): Int32Array {
    this.log.expectEarlier(position);
    return new Int32Array(0);
  }

  fork(): KvCache {
    this.log.expectIdle();
    return new NoCache(this.options);
  }

  adopt(): number {
    return 0;
  }

  restore(): void {
    throw new RequestError('The cache none keeps nothing, so nothing can be loaded into it; choose another cache.');
  }

  release(): void {
    this.log.expectIdle();
  }

  bytes(): { used: number; allocated: number } {
    return { used: 0, allocated: 0 };
  }
}
