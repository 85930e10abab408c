import type { RowStore, StoredKind, StoreWatcher } from '../../stored.js';
import { Arena } from './arena.js';
import type { Device, DeviceArray } from './device.js';

/**
 * The copy of one store's rows on a device. Only what a kernel is about to read is uploaded, and only if it has changed since: in a decode step
 * the new token's rows. When the store grows, what is there is copied on the device.
 */
class Mirror<Held extends DeviceArray> implements StoreWatcher {
  /** The first of its slots in the arena. */
  base: number;
  private readonly arena: Arena<Held>;
  /** 1: the store's slot is not as it is here. */
  private stale: Uint8Array;

  constructor(arena: Arena<Held>, capacity: number) {
    this.arena = arena;
    this.base = arena.take(capacity);
    this.stale = new Uint8Array(capacity).fill(1);
  }

  get range(): { from: number; count: number } {
    return { from: this.base, count: this.stale.length };
  }

  wrote(slot: number, count: number): void {
    this.stale.fill(1, slot, slot + count);
  }

  resized(capacity: number, keep: number): void {
    const before = this.range;
    const kept = this.stale.subarray(0, Math.min(keep, capacity));
    this.stale = new Uint8Array(capacity).fill(1);
    this.stale.set(kept);
    this.base = capacity > 0 ? this.arena.take(capacity) : 0;
    if (kept.includes(0)) this.arena.move(before.from, this.base, kept.length);
    this.arena.give(before.from, before.count);
  }

  /** Brings slots [from, from + count) up to date. */
  sync(store: RowStore, from: number, count: number): void {
    for (let slot = from; slot < from + count; ) {
      if (this.stale[slot] === 0) slot++;
      else {
        const first = slot;
        while (slot < from + count && this.stale[slot] !== 0) slot++;
        this.arena.upload((stream) => store.arraysOf(stream), first, this.base, slot - first);
        this.stale.fill(0, first, slot);
      }
    }
  }
}

/** The rows of all stores that a device has met. What a store held is given back when it is emptied, or when nobody holds the store. */
export class Residence<Held extends DeviceArray> {
  private readonly device: Device<Held>;
  private readonly arenas = new WeakMap<StoredKind, Arena<Held>>();
  private readonly mirrors = new WeakMap<RowStore, Mirror<Held>>();
  private readonly dropped = new FinalizationRegistry<{ mirror: Mirror<Held>; arena: Arena<Held> }>(
    ({ mirror, arena }) => {
      arena.give(mirror.range.from, mirror.range.count);
    },
  );

  constructor(device: Device<Held>) {
    this.device = device;
  }

  arenaOf(kind: StoredKind): Arena<Held> {
    const arena = this.arenas.get(kind) ?? new Arena(kind, this.device);
    this.arenas.set(kind, arena);
    return arena;
  }

  /** @returns the slot on the device of slot `from` of a store, after bringing `count` of them there */
  hold(store: RowStore, from: number, count: number): number {
    const mirror = this.mirrors.get(store) ?? this.mirror(store);
    mirror.sync(store, from, count);
    return mirror.base + from;
  }

  /** Until nobody holds the store; also when it is emptied, and filled again later. */
  private mirror(store: RowStore): Mirror<Held> {
    const arena = this.arenaOf(store.kind);
    const mirror = new Mirror(arena, store.capacity);
    store.watch(mirror);
    this.mirrors.set(store, mirror);
    this.dropped.register(store, { mirror, arena });
    return mirror;
  }
}
