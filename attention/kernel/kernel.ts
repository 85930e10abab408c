import type { Floats, Precision, Tensor } from '../../src/tensor/tensor.js';
import type { ScoreRules } from '../scores.js';
import type { CacheBlock } from '../streams.js';
import type { Visibility } from '../visibility/visibility.js';
import type { Scratch } from './scratch.js';

/**
 * One sequence's attention in one layer: out = softmax(scores) v, of scores scale q k^T capped and biased by `ScoreRules`, over the visible rows of a list of blocks.
 * G, the number of key/value heads, is that of the streams; query head h meets key/value head floor(h / (H / G)).
 */
export interface AttentionCall extends ScoreRules {
  readonly q_THK: Tensor;
  /** Absolute positions of the queries [T]. */
  readonly positions: Int32Array;
  /** In ascending order of position. */
  readonly blocks: readonly CacheBlock[];
  /** The streams that, side by side, are a key: one for keys, two for MLA's latent and rope key. */
  readonly keyStreams: readonly string[];
  readonly valueStream: string;
  readonly scale: number;
  /**
   * A query at p sees position j if j <= p, and j < sinks or j >= oldest(p): a kernel may ask `sees`, or compute this form. A rule of another form
   * has another result in each.
   */
  readonly visibility: Visibility;
  /** One more logit for each query head in its softmax, which weighs nothing [H]; null: none. */
  readonly sinkLogits_H: Floats | null;
  /** Where the result goes. */
  readonly out_THV: Tensor;
}

/** A way of computing attention calls. It takes all sequences of a pass at once, and may be asynchronous (a GPU is). */
export interface AttentionKernel {
  readonly name: string;
  /**
   * How far its results may lie from the reference kernel's: |difference| <= `bound(keys)` x unit roundoff x the largest |value|, where
   * `keys` is the number of visible keys and the unit roundoff is 2^-24 in float32, 2^-53 in float64. 0: not at all. (It says nothing of results
   * that are subnormal, nor of values so large that the sum of all of them overflows; nor of queries that are so when they are scaled.)
   * @param scores what it depends on where the kernel makes scores in another order, or of other roundings
   */
  bound(keys: number, scores: ScoreSize): number;
  /** The same against the truth, the result of the same inputs in real numbers, for the precision of this unit roundoff; where it is known. */
  truthBound?(keys: number, scores: ScoreSize, unit: number): number;
  /** Set where it computes in these precisions alone. */
  readonly precisions?: readonly Precision[];
  attend(calls: readonly AttentionCall[], scratch?: Scratch): void | Promise<void>;
  /** Set where it runs on a device: gets it, if that has not been done yet, and tells of it. @throws DeviceError if it cannot be had */
  device?(): Promise<DeviceReport>;
}

/** What the rounding of scores depends on. */
export interface ScoreSize {
  readonly keyDim: number;
  /** The largest sum of what one score is made of: scale * sum of |q k|, the softcap, and |bias|. */
  readonly magnitude: number;
}

/** What runs a kernel, and what it has done since it was opened. */
export interface DeviceReport {
  readonly name: string;
  /** Asked of the compiled kernels: what really ran them. Empty: none has run. */
  readonly ran: readonly string[];
  readonly about: string;
  /** It computes on the processor. */
  readonly software: boolean;
  /** Why no other device was chosen. */
  readonly passedOver: readonly string[];
  /** Kernels that were compiled, and the time it took. */
  readonly compiled: number;
  readonly compileMs: number;
  /** Bytes of its arrays: copies of rows, lists of them, queries. (Not of results that gpu.js holds.) */
  readonly bytes: number;
}
