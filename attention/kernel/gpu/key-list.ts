/** Which rows a kernel goes through: a list of slots with their positions, which stays on the device and changes there by its differences alone. */
import type { Device, DeviceArray } from './device.js';
import { CHUNK } from './source.js';

export class KeyList<Held extends DeviceArray> {
  readonly slots: Held;
  readonly positions: Held;
  count = 0;
  private hostSlots: Float32Array = new Float32Array(0);
  private hostPositions: Float32Array = new Float32Array(0);
  /** What differs from the device: [from, to). */
  private changed = { from: Number.POSITIVE_INFINITY, to: 0 };

  constructor(device: Device<Held>) {
    this.slots = device.newArray();
    this.positions = device.newArray();
  }

  /** Begins the list anew. @param most rows that it may get */
  begin(most: number): void {
    this.count = 0;
    if (most <= this.hostSlots.length) return;
    const length = Math.max(2 ** Math.ceil(Math.log2(most)), 8 * CHUNK);
    const before = this.hostSlots.length;
    this.slots.resize(length, before); // which may fail, and changes nothing then
    this.positions.resize(length, before);
    this.hostSlots = grown(this.hostSlots, length);
    this.hostPositions = grown(this.hostPositions, length);
  }

  add(slot: number, position: number): void {
    const i = this.count++;
    if (this.hostSlots[i] === slot && this.hostPositions[i] === position) return;
    this.hostSlots[i] = slot;
    this.hostPositions[i] = position;
    this.changed.from = Math.min(this.changed.from, i);
    this.changed.to = i + 1;
  }

  /** Uploads what has changed. */
  end(): void {
    const { from, to } = this.changed;
    if (from >= to) return;
    this.slots.write(from, this.hostSlots.subarray(from, to));
    this.positions.write(from, this.hostPositions.subarray(from, to));
    this.changed = { from: Number.POSITIVE_INFINITY, to: 0 };
  }

  /** Rows from `from` on whose slots follow each other, at most `most`. */
  runFrom(from: number, most: number): { slot: number; count: number } {
    const slot = this.hostSlots[from]!;
    let count = 1;
    while (count < most && from + count < this.count && this.hostSlots[from + count] === slot + count) count++;
    return { slot, count };
  }

  free(): void {
    this.slots.free();
    this.positions.free();
    [this.hostSlots, this.hostPositions] = [new Float32Array(0), new Float32Array(0)];
  }
}

/** Unused entries are at no position: a slot of -1 is never equal to one that is added. */
function grown(before: Float32Array, length: number): Float32Array {
  const array = new Float32Array(length).fill(-1);
  array.set(before);
  return array;
}
