import type { CacheBlock, StreamRows } from '../streams.js';
import { type CacheOptions, expectAscending, expectIdle, type KvCache } from './cache.js';
import { LayerRows } from './rows.js';

const FIRST_CAPACITY = 64;

/** All rows in one array a stream, in order of position, so one block; the arrays double when they are full. */
export class ContiguousCache implements KvCache {
  private length = 0;
  private begun = 0;
  private capacity = 0;
  private positions = new Int32Array(0);
  private readonly layers: readonly LayerRows[];

  constructor({ layers, precision, dtype }: CacheOptions) {
    this.layers = layers.map((streams) => new LayerRows(streams, precision, dtype));
  }

  get next(): number {
    return this.length === 0 ? 0 : this.positions[this.length - 1]! + 1;
  }

  begin(positions: Int32Array): void {
    const needed = this.length + positions.length;
    expectIdle(this.begun > 0);
    expectAscending(this.next, positions);
    if (needed > this.capacity) this.grow(Math.max(needed, 2 * this.capacity, FIRST_CAPACITY));
    this.positions.set(positions, this.length);
    this.begun = positions.length;
  }

  write(layer: number, rows: StreamRows): void {
    this.layers[layer]!.writeInto(this.length, this.begun, rows);
  }

  blocks(layer: number): readonly CacheBlock[] {
    return [this.layers[layer]!.block(this.positions.subarray(0, this.length + this.begun))];
  }

  commit(): void {
    this.length += this.begun;
    this.begun = 0;
  }

  abort(): void {
    this.begun = 0;
  }

  bytes(): { used: number; allocated: number } {
    const token = this.layers.reduce((sum, layer) => sum + layer.tokenBytes, 0);
    return { used: this.length * token, allocated: this.capacity * token };
  }

  private grow(capacity: number): void {
    for (const layer of this.layers) layer.resize(capacity, this.length);
    const positions = new Int32Array(capacity);
    positions.set(this.positions.subarray(0, this.length));
    this.positions = positions;
    this.capacity = capacity;
  }
}
