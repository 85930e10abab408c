/** Copies of stores on a device, and what they are told. */
import type { RowStore, StoredKind, StoreWatcher } from '../../stored.js';
import { Arena } from './arena.js';
import type { Device, DeviceArray } from './device.js';

/**
 * The copy of one store's rows on a device. Only what a kernel is about to read is uploaded, and only if it has changed since: in a decode step
 * the new token's rows. When the store grows, what is there is copied on the device, or has room where it is.
 */
class Mirror<Held extends DeviceArray> implements StoreWatcher {
  private readonly arena: Arena<Held>;
  /** Slots in the arena: [base, base + held). */
  private base = 0;
  private held = 0;
  /** For each slot of the store, 1: it is not as it is here. */
  private stale: Uint8Array;

  constructor(arena: Arena<Held>, capacity: number) {
    this.arena = arena;
    this.stale = new Uint8Array(capacity).fill(1);
  }

  get active(): boolean {
    return !this.arena.closed;
  }

  wrote(slot: number, count: number): void {
    this.stale.fill(1, slot, slot + count);
  }

  /** What is no longer needed is given back at once; what is needed is taken when rows are read, since that may fail. */
  resized(capacity: number, keep: number): void {
    const kept = this.stale.subarray(0, Math.min(keep, capacity));
    this.stale = new Uint8Array(capacity).fill(1);
    this.stale.set(kept);
    if (capacity >= this.held) return;
    this.arena.give(this.base + capacity, this.held - capacity);
    this.held = capacity;
  }

  release(): void {
    this.resized(0, 0);
  }

  /** Brings slots [from, from + count) of the store up to date. @returns the first of them in the arena */
  sync(store: RowStore, from: number, count: number): number {
    this.grow();
    for (let slot = from; slot < from + count; ) {
      if (this.stale[slot] === 0) slot++;
      else {
        const first = slot;
        while (slot < from + count && this.stale[slot] !== 0) slot++;
        this.arena.upload((stream) => store.arraysOf(stream), first, this.base, slot - first);
        this.stale.fill(0, first, slot);
      }
    }
    return this.base + from;
  }

  /** @throws DeviceError, and changes nothing, if the device has no room */
  private grow(): void {
    const more = this.stale.length - this.held;
    if (more === 0) return;
    if (this.held === 0 || !this.arena.extend(this.base, this.held, more)) {
      const base = this.arena.take(this.stale.length);
      this.moveTo(base);
    }
    this.held = this.stale.length;
  }

  private moveTo(base: number): void {
    try {
      this.arena.move(this.base, base, this.held);
    } catch (error) {
      this.arena.give(base, this.stale.length);
      throw error;
    }
    this.arena.give(this.base, this.held);
    this.base = base;
  }
}

/** The rows of all stores that a device has met. What a store held is given back when it is emptied, or when nobody holds the store. */
export class Residence<Held extends DeviceArray> {
  private readonly device: Device<Held>;
  private readonly arenas = new WeakMap<StoredKind, Arena<Held>>();
  private readonly all = new Set<WeakRef<Arena<Held>>>();
  private readonly mirrors = new WeakMap<RowStore, Mirror<Held>>();
  private readonly dropped = new FinalizationRegistry<Mirror<Held>>((mirror) => mirror.release());

  constructor(device: Device<Held>) {
    this.device = device;
  }

  arenaOf(kind: StoredKind): Arena<Held> {
    const known = this.arenas.get(kind);
    if (known) return known;
    const arena = new Arena(kind, this.device);
    this.arenas.set(kind, arena);
    this.all.add(new WeakRef(arena));
    return arena;
  }

  /** Gives all memory back. Stores that live on let go of their mirrors when they are next watched. */
  close(): void {
    for (const arena of this.all) arena.deref()?.close();
    this.all.clear();
  }

  /** @returns the slot on the device of slot `from` of a store, after bringing `count` of them there */
  hold(store: RowStore, from: number, count: number): number {
    const mirror = this.mirrors.get(store) ?? this.mirror(store);
    return mirror.sync(store, from, count);
  }

  /** Until nobody holds the store; also when it is emptied, and filled again later. */
  private mirror(store: RowStore): Mirror<Held> {
    const mirror = new Mirror(this.arenaOf(store.kind), store.capacity);
    store.watch(mirror);
    this.mirrors.set(store, mirror);
    this.dropped.register(store, mirror);
    return mirror;
  }
}
