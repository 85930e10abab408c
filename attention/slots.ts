/**
 * Positions inside the cache (StreamingLLM, Xiao et al. 2023, section 3.2): where the middle of a text has been forgotten, tokens are
 * rotated as if it had never been there. Keys are stored before rope, and rotated by their slot when they are read, so a text of any
 * length meets only angles that the model was trained on.
 */
import { type Rope, type Rotation, rotateInPlace, rotationAt } from '../src/math/rope.js';
import { flat, floats, type Precision, tensor } from '../src/tensor/tensor.js';
import type { Scratch } from './kernel/scratch.js';
import type { RotatedStream } from './strategy/strategy.js';
import { between, type CacheBlock, consecutive, type Retention } from './streams.js';

/** `absolute`: a token is rotated to its place in the text; `in-cache`: to its place among the tokens that its query sees. */
export type PositionPolicy = 'absolute' | 'in-cache';

export const POSITION_POLICIES = ['absolute', 'in-cache'] as const satisfies readonly PositionPolicy[];

/** How many positions lie forgotten between the sinks and the oldest key that this query sees. */
export function shiftOf({ sinks, oldest }: Retention, query: number): number {
  return Math.max(oldest(query) - sinks, 0);
}

/** The slots of positions, for a query with this shift. */
export function slotsOf(positions: Int32Array, sinks: number, shift: number): Int32Array {
  return positions.map((position) => (position < sinks ? position : position - shift));
}

/**
 * The rows that queries of this shift see, as blocks whose rotated streams are read rotated by slot. The `shift` rows after the sinks
 * are forgotten, have no slot, and are left out.
 */
export function rotatedBlocks(
  blocks: readonly CacheBlock[],
  streams: readonly RotatedStream[],
  { sinks, shift }: { sinks: number; shift: number },
  rotationOf: (slots: Int32Array) => Rotation,
  scratch: Scratch,
): CacheBlock[] {
  return blocks
    .flatMap((block) => [between(block, 0, sinks), between(block, sinks + shift, Number.POSITIVE_INFINITY)])
    .filter(({ positions }) => positions.length > 0)
    .map((block) => rotated(block, streams, rotationOf(slotsOf(block.positions, sinks, shift)), scratch));
}

function rotated(
  block: CacheBlock,
  streams: readonly RotatedStream[],
  rotation: Rotation,
  scratch: Scratch,
): CacheBlock {
  return {
    positions: block.positions,
    stored: null,
    read(name) {
      const rows = block.read(name);
      const from = streams.find((stream) => stream.name === name)?.ropeFrom ?? null;
      if (from === null) return rows;
      const stored = flat(rows);
      const copy = tensor(scratch.floats(stored, stored.length), rows.shape); // what is stored stays as it is
      copy.data.set(stored);
      rotateInPlace(copy, rotation, from);
      return copy;
    },
  };
}

/** Rotations by slot. Slots are few and come again at every step, so the angles of each are computed once. */
export class SlotRotations {
  private table: Rotation;
  private readonly rope: Rope;
  private readonly precision: Precision;
  private length = 0;

  constructor(rope: Rope, precision: Precision) {
    this.rope = rope;
    this.precision = precision;
    this.table = rotationAt(rope, new Int32Array(0), precision);
  }

  at(slots: Int32Array): Rotation {
    const most = slots.reduce((max, slot) => Math.max(max, slot), 0);
    if (most >= this.length) this.grow(2 * (most + 1));
    const half = this.rope.dim / 2;
    const angles = () => floats(this.precision, slots.length * half);
    const rows = { ...this.table, cos_TR: angles(), sin_TR: angles() };
    slots.forEach((slot, t) => {
      rows.cos_TR.set(this.table.cos_TR.subarray(slot * half, (slot + 1) * half), t * half);
      rows.sin_TR.set(this.table.sin_TR.subarray(slot * half, (slot + 1) * half), t * half);
    });
    return rows;
  }

  private grow(length: number): void {
    this.table = rotationAt(this.rope, consecutive(0, length), this.precision);
    this.length = length;
  }
}
