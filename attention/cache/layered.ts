import type { CacheBlock, StreamRows } from '../streams.js';
import { type CacheBytes, type CacheContents, type KvCache, type LayerContents, sumOfBytes } from './cache.js';
import { expectNoResidual } from './contents.js';
import { TokenLog } from './token-log.js';

/** Where one layer's rows of one sequence live. Between `begin` and `commit` nothing that is committed may change. */
export interface LayerStore {
  /** Makes room for `count` more tokens. @throws RequestError, and changes nothing, if there is none. */
  begin(count: number): void;
  write(rows: StreamRows): void;
  blocks(): readonly CacheBlock[];
  commit(): void;
  abort(): void;
  /** @throws RequestError if rows that the token at this position would see are gone. */
  expectRollback(position: number): void;
  rollback(position: number): void;
  contents(): LayerContents;
  /** Takes saved rows of a sequence of `next` tokens, into an empty store. @throws RequestError, and changes nothing. */
  load(contents: LayerContents, next: number): void;
  fork(): LayerStore;
  release(): void;
  bytes(): CacheBytes;
}

/** A cache in which each layer has a store of its own: contiguous rows, a ring, or some of both. */
export class LayeredCache implements KvCache {
  private readonly log: TokenLog;
  private readonly stores: readonly LayerStore[];

  constructor(stores: readonly LayerStore[], log = new TokenLog()) {
    this.stores = stores;
    this.log = log;
  }

  get next(): number {
    return this.log.next;
  }

  get ids(): Int32Array {
    return this.log.ids;
  }

  begin(positions: Int32Array, ids: readonly number[]): void {
    this.log.expect(positions, ids);
    const begun: LayerStore[] = [];
    this.log.begin(ids);
    try {
      for (const store of this.stores) {
        store.begin(positions.length);
        begun.push(store);
      }
    } catch (error) {
      for (const store of begun) store.abort();
      this.log.abort();
      throw error;
    }
  }

  write(layer: number, rows: StreamRows): void {
    this.stores[layer]!.write(rows);
  }

  blocks(layer: number): readonly CacheBlock[] {
    return this.stores[layer]!.blocks();
  }

  epochOf(): number {
    return 0;
  }

  commit(): void {
    for (const store of this.stores) store.commit();
    this.log.commit();
  }

  abort(): void {
    for (const store of this.stores) store.abort();
    this.log.abort();
  }

  rollback(position: number): Int32Array {
    this.log.expectEarlier(position);
    for (const store of this.stores) store.expectRollback(position);
    for (const store of this.stores) store.rollback(position);
    return this.log.rollback(position);
  }

  fork(): KvCache {
    this.log.expectIdle();
    return new LayeredCache(
      this.stores.map((store) => store.fork()),
      this.log.fork(),
    );
  }

  adopt(): number {
    return 0;
  }

  contents(): CacheContents {
    this.log.expectIdle();
    return { ids: this.ids.slice(), layers: this.stores.map((store) => store.contents()), residual: null };
  }

  restore(contents: CacheContents): void {
    const { ids, layers } = contents;
    this.log.expectEmpty();
    expectNoResidual(contents);
    try {
      for (const [i, store] of this.stores.entries()) store.load(layers[i]!, ids.length);
    } catch (error) {
      this.release();
      throw error;
    }
    this.log.begin([...ids]);
    this.log.commit();
  }

  release(): void {
    this.log.expectIdle();
    for (const store of this.stores) store.release();
    this.log.rollback(0);
  }

  bytes(): CacheBytes {
    return sumOfBytes(this.stores.map((store) => store.bytes()));
  }
}
