import type { CacheBlock, StreamRows } from '../streams.js';
import { type CacheOptions, expectAscending, expectIdle, type KvCache } from './cache.js';
import { LayerRows } from './rows.js';

/**
 * Keeps nothing from one pass to the next: `next` stays 0, so every pass must feed the whole sequence again. Inside a pass
 * it holds the rows of one layer, which that layer's attention needs.
 */
export class NoCache implements KvCache {
  readonly next = 0;
  private positions: Int32Array = new Int32Array(0);
  private readonly options: CacheOptions;
  private current: { layer: number; rows: LayerRows } | null = null;

  constructor(options: CacheOptions) {
    this.options = options;
  }

  begin(positions: Int32Array): void {
    expectIdle(this.positions.length > 0);
    expectAscending(0, positions);
    this.positions = positions;
    this.current = null;
  }

  write(layer: number, given: StreamRows): void {
    const rows = new LayerRows(this.options.layers[layer]!, this.options.precision, this.options.dtype);
    rows.resize(this.positions.length, 0);
    rows.writeInto(0, this.positions.length, given);
    this.current = { layer, rows };
  }

  blocks(layer: number): readonly CacheBlock[] {
    return this.current?.layer === layer ? [this.current.rows.block(this.positions)] : [];
  }

  commit(): void {
    this.abort();
  }

  abort(): void {
    this.positions = new Int32Array(0);
    this.current = null;
  }

  bytes(): { used: number; allocated: number } {
    return { used: 0, allocated: 0 };
  }
}
