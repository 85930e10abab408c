/** Whether a kernel that is timed computes what the reference does: the time of another result is worth nothing. */
import type { AttentionCall, AttentionKernel, ScoreSize } from '../../../attention/kernel/kernel.js';
import { type Floats, flat } from '../../tensor/tensor.js';

/** In unit roundoffs (2^-24) of the largest |value|. */
export interface Agreement {
  /** The largest difference from the reference. */
  readonly difference: number;
  /** What the kernel promises. */
  readonly bound: number;
}

/** What a kernel's bound depends on, of the rows of a call. */
export interface CallSize {
  readonly keys: number;
  readonly scores: ScoreSize;
  /** |value| */
  readonly largest: number;
}

/** The sum of |q k| is at most |q| |k| (Cauchy-Schwarz): norms are found in one pass over the rows, all scores are not needed. */
export function sizeOf({
  q_THK,
  blocks,
  keyStreams,
  valueStream,
  scale,
  positions,
}: Omit<AttentionCall, 'out_THV'>): CallSize {
  const keyNorms = keyStreams.map((name) => most(blocks.map((block) => longestRow(block.read(name)))));
  const magnitude = scale * longestRow(q_THK) * Math.hypot(...keyNorms);
  const largest = most(blocks.map((block) => largestOf(flat(block.read(valueStream)))));
  return { keys: positions.at(-1)! + 1, scores: { keyDim: q_THK.shape[2]!, magnitude }, largest };
}

export function agreementOf(kernel: AttentionKernel, found: Floats, expected: Floats, size: CallSize): Agreement {
  let difference = 0;
  for (let i = 0; i < expected.length; i++) {
    const distance = Math.abs(found[i]! - expected[i]!);
    if (!(distance <= difference)) difference = Number.isNaN(distance) ? Number.POSITIVE_INFINITY : distance;
  }
  return { difference: (difference * 2 ** 24) / size.largest, bound: kernel.bound(size.keys, size.scores) };
}

function most(numbers: readonly number[]): number {
  return numbers.reduce((greatest, x) => Math.max(greatest, x), 0);
}

function largestOf(numbers: Floats): number {
  let largest = 0;
  for (let i = 0; i < numbers.length; i++) largest = Math.max(largest, Math.abs(numbers[i]!));
  return largest;
}

/** The greatest norm of the vectors along the last axis of rows [S, heads, dim]. */
function longestRow(rows: AttentionCall['q_THK']): number {
  const [numbers, dim] = [flat(rows), rows.shape[2]!];
  let longest = 0;
  for (let from = 0; from < numbers.length; from += dim) {
    let sum = 0;
    for (let i = from; i < from + dim; i++) sum += numbers[i]! ** 2;
    longest = Math.max(longest, sum);
  }
  return Math.sqrt(longest);
}
