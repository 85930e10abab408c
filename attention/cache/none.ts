import { RequestError } from '../../src/errors.js';
import type { CacheBlock, StreamRows } from '../streams.js';
import type { CacheContents, KvCache } from './cache.js';
import { TokenLog } from './token-log.js';

/**
 * Keeps nothing from one pass to the next: `next` stays 0, so every pass must feed the whole sequence again. Inside a pass its rows are in
 * a cache that is thrown away.
 */
export class NoCache implements KvCache {
  readonly next = 0;
  readonly ids = new Int32Array(0);
  private readonly log = new TokenLog();
  private readonly newCache: () => KvCache;
  private current: KvCache | null = null;

  /** @param newCache makes what a pass is held in */
  constructor(newCache: () => KvCache) {
    this.newCache = newCache;
  }

  begin(positions: Int32Array, ids: readonly number[]): void {
    this.log.expect(positions, ids);
    const current = this.newCache();
    current.begin(positions, ids);
    this.log.begin(ids);
    this.current = current;
  }

  write(layer: number, rows: StreamRows): void {
    this.current!.write(layer, rows);
  }

  blocks(layer: number, query?: number): readonly CacheBlock[] {
    return this.current?.blocks(layer, query) ?? [];
  }

  epochOf(query: number): number {
    return this.current?.epochOf(query) ?? 0;
  }

  commit(): void {
    this.abort();
  }

  abort(): void {
    this.log.abort();
    this.current?.abort();
    this.current?.release();
    this.current = null;
  }

  rollback(position: number): Int32Array {
    this.log.expectEarlier(position);
    return new Int32Array(0);
  }

  fork(): KvCache {
    this.log.expectIdle();
    return new NoCache(this.newCache);
  }

  adopt(): number {
    return 0;
  }

  contents(): CacheContents {
    throw new RequestError('The cache none keeps nothing, so there is nothing to save; choose another cache.');
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
