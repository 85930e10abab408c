import { type Floats, floatsLike } from '../../src/tensor/tensor.js';

/** Counts the bytes that kernels take beside their inputs and outputs: what lives now, and the most that ever did. */
export class Scratch {
  peakBytes = 0;
  private bytes = 0;

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

  private count(bytes: number): void {
    this.bytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.bytes);
  }
}
