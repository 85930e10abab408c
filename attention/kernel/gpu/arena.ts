/**
 * The rows of one layer on a device: those of all its stores, each in a run of slots, in one array a stream (two where it has scales). So a
 * kernel finds any page by the slots of its rows, whichever page it is.
 */
import { DeviceError } from '../../../src/errors.js';
import type { Stored, StoredKind, StoredStream } from '../../stored.js';
import type { Device, DeviceArray } from './device.js';
import { runOf, scaleWidthOf, widthOf } from './layout.js';
import { SlotRanges } from './slot-ranges.js';
import { scalesInto, wordsInto } from './words.js';

/** A stream's arrays on a device. */
export interface ArenaStream<Held extends DeviceArray = DeviceArray> {
  readonly schema: StoredStream;
  readonly values: Held;
  /** Numbers that a slot takes. */
  readonly width: number;
  /** Of `run` slots together: `scaleWidth` numbers; null: it has none. */
  readonly scales: Held | null;
  readonly scaleWidth: number;
  readonly run: number;
}

/** The static scale of a head's values, which kernels leave out. */
export function headScale({ schema: { form } }: ArenaStream, head: number): number {
  return form.kind === 'codes' && form.scale_G ? form.scale_G[head]! : 1;
}

/** Slots are float32 numbers on a device, and are divided there. */
const MOST_SLOTS = 2 ** 22;

function expectExact(slots: number): void {
  if (slots <= MOST_SLOTS) return;
  throw new DeviceError(`Kernel gpu: a layer keeps at most ${MOST_SLOTS} rows on a device, and ${slots} are needed; release sequences, or choose the kernel flash.`); // biome-ignore format: one sentence
}

const FIRST_SLOTS = 64;

export class Arena<Held extends DeviceArray> {
  readonly streams: readonly ArenaStream<Held>[];
  /** Runs of slots begin at multiples of it. */
  readonly alignment: number;
  private readonly ranges = new SlotRanges();
  closed = false;
  /** Slots that the arrays hold. */
  private slots = 0;

  constructor({ streams, alignment }: StoredKind, device: Device<Held>) {
    this.alignment = alignment;
    this.streams = streams.map((schema) => {
      const scaleWidth = scaleWidthOf(schema);
      const scales = scaleWidth > 0 ? device.newArray() : null;
      return { schema, values: device.newArray(), width: widthOf(schema), scales, scaleWidth, run: runOf(schema) };
    });
  }

  /** @returns the first of `count` slots */
  take(count: number): number {
    const from = this.ranges.take(count, this.alignment);
    this.makeRoom(from, count);
    return from;
  }

  /** Lets a run grow where it is, if what lies behind it is free. @returns whether it is */
  extend(from: number, count: number, more: number): boolean {
    if (!this.ranges.extend(from, count, more)) return false;
    this.makeRoom(from + count, more);
    return true;
  }

  /** For slots that were taken; without room they are given back. */
  private makeRoom(from: number, count: number): void {
    if (this.ranges.end <= this.slots) return;
    try {
      expectExact(this.ranges.end);
      this.resize(Math.max(FIRST_SLOTS, Math.min(2 * this.slots, MOST_SLOTS), this.ranges.end));
    } catch (error) {
      this.ranges.give(from, count);
      throw error;
    }
  }

  /** Takes slots back; the memory goes with the last of them. */
  give(from: number, count: number): void {
    if (this.closed) return;
    this.ranges.give(from, count);
    if (this.ranges.end === 0) this.free();
  }

  /** With its device: nothing can be done with it any more. */
  close(): void {
    this.closed = true;
    this.free();
  }

  private free(): void {
    this.slots = 0;
    for (const { values, scales } of this.streams) {
      values.free();
      scales?.free();
    }
  }

  private resize(slots: number): void {
    const whole = Math.ceil(slots / this.alignment) * this.alignment;
    for (const { values, width, scales, scaleWidth, run } of this.streams) {
      values.resize(whole * width, this.slots * width);
      scales?.resize((whole / run) * scaleWidth, Math.ceil(this.slots / run) * scaleWidth);
    }
    this.slots = whole;
  }

  /** Copies slots on the device. */
  move(from: number, to: number, count: number): void {
    for (const { values, width, scales, scaleWidth, run } of this.streams) {
      values.move(from * width, to * width, count * width);
      scales?.move((from / run) * scaleWidth, (to / run) * scaleWidth, Math.ceil(count / run) * scaleWidth);
    }
  }

  /** Uploads slots [from, from + count) of a store's arrays into those that begin at `base`. */
  upload(arraysOf: (stream: number) => readonly Stored[], from: number, base: number, count: number): void {
    for (const [s, { schema, values, width, scales, scaleWidth, run }] of this.streams.entries()) {
      const [stored, ...shared] = arraysOf(s) as [Stored, ...Stored[]];
      values.write((base + from) * width, wordsOf(schema, stored, from, count, width));
      if (!scales) continue;
      const [first, end] = [Math.floor(from / run), Math.ceil((from + count) / run)];
      const sides = new Float32Array((end - first) * scaleWidth);
      scalesInto(sides, schema, shared, first);
      scales.write((base / run + first) * scaleWidth, sides);
    }
  }
}

/** The numbers of some slots, as a device keeps them. */
function wordsOf(schema: StoredStream, stored: Stored, from: number, count: number, width: number): Float32Array {
  const { heads, dim, form } = schema;
  if (form.kind === 'numbers') {
    const size = heads * dim;
    const rows = stored.subarray(from * size, (from + count) * size);
    return rows instanceof Float32Array ? rows : Float32Array.from(rows);
  }
  const words = new Float32Array(count * width);
  wordsInto(words, schema, form, stored, from, count);
  return words;
}
