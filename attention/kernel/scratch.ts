import { type Floats, floatsLike } from '../../src/tensor/tensor.js';

/** Bytes that moved between the host and a device, and within one between the memories of its kernels. */
export interface Moved {
  readonly uploaded: number;
  readonly downloaded: number;
  readonly staged: number;
}

/** A sum with what came between two readings added. */
export function addMoved(sum: Moved, before: Moved, after: Moved): Moved {
  const added = (of: keyof Moved) => sum[of] + after[of] - before[of];
  return { uploaded: added('uploaded'), downloaded: added('downloaded'), staged: added('staged') };
}

/** Counts the bytes that kernels take beside their inputs and outputs, what lives now and the most that ever did; and what kernels on a device move. */
export class Scratch {
  moved: Moved = { uploaded: 0, downloaded: 0, staged: 0 };
  peakBytes = 0;
  private bytes = 0;

  /** Adds what moved between two readings of a device's meter. */
  countTraffic(before: Moved, after: Moved): void {
    this.moved = addMoved(this.moved, before, after);
  }

  /** A zeroed array of the same precision as another one. */
  floats(like: Floats, length: number): Floats {
    const taken = floatsLike(like, length);
    this.count(taken.byteLength);
    return taken;
  }

  ints(length: number): Int32Array {
    const taken = new Int32Array(length);
    this.count(taken.byteLength);
    return taken;
  }

  /** All that was taken inside `use` is given back after it. */
  within<Result>(use: () => Result): Result {
    const before = this.bytes;
    try {
      return use();
    } finally {
      this.bytes = before;
    }
  }

  /** The same where it ends later. */
  async withinAwaited<Result>(use: () => Promise<Result>): Promise<Result> {
    const before = this.bytes;
    try {
      return await use();
    } finally {
      this.bytes = before;
    }
  }

  private count(bytes: number): void {
    this.bytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.bytes);
  }
}
