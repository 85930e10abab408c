/** One attention call over blocks made by hand. */
import fc from 'fast-check';
import { KERNELS, type KernelName } from '../../attention/kernel/index.js';
import type { AttentionKernel, ScoreSize } from '../../attention/kernel/kernel.js';
import { PLAIN_SCORES, type ScoreRules } from '../../attention/scores.js';
import type { CacheBlock, StreamRows } from '../../attention/streams.js';
import { causal } from '../../attention/visibility/causal.js';
import { chunked } from '../../attention/visibility/chunked.js';
import { sinksAndWindow } from '../../attention/visibility/sinks.js';
import { sliding } from '../../attention/visibility/sliding.js';
import type { Visibility } from '../../attention/visibility/visibility.js';
import { type Floats, flat, zerosLike } from '../../src/tensor/tensor.js';
import type { Problem } from './streams.js';

export async function run(
  kernel: KernelName | AttentionKernel,
  { q_THK, positions }: Problem,
  blocks: readonly CacheBlock[],
  V: number,
  visibility: Visibility = causal,
  sinkLogits_H: Floats | null = null,
  rules: ScoreRules = PLAIN_SCORES,
) {
  const out_THV = zerosLike(q_THK, [q_THK.shape[0]!, q_THK.shape[1]!, V]);
  const call = {
    q_THK,
    positions,
    blocks,
    keyStreams: ['keys'],
    valueStream: 'values',
    scale: 0.3,
    visibility,
    sinkLogits_H,
    ...rules,
    out_THV,
  };
  await (typeof kernel === 'string' ? KERNELS[kernel] : kernel).attend([call]);
  return flat(out_THV);
}

/** The rows cut into blocks at random places. */
export function cut(rows: StreamRows, positions: Int32Array, sizes: readonly number[]): CacheBlock[] {
  const blocks: CacheBlock[] = [];
  for (let from = 0, i = 0; from < positions.length; i++) {
    const to = Math.min(from + sizes[i % sizes.length]!, positions.length);
    const start = from;
    blocks.push({
      positions: positions.slice(start, to),
      read: (stream) => rows[stream]!.hi(to, null as never, null as never).lo(start, 0, 0),
    });
    from = to;
  }
  return blocks;
}

/** For kernels whose scores are the reference's. */
export const NO_SCORES: ScoreSize = { keyDim: 0, magnitude: 0 };

export const double = (x: Float64Array) => x;
export const window = sliding(9);
export const rules = fc.constantFrom(causal, window, chunked(7), sinksAndWindow(2, 5));
