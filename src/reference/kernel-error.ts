/** What the error of an attention kernel is measured by: the truth of a call, and what its bound depends on. */
import type { AttentionCall, ScoreSize } from '../../attention/kernel/kernel.js';
import type { Alibi } from '../../attention/scores.js';
import { flat, type Tensor, tensor } from '../tensor/tensor.js';

/** The same call of the same numbers in float64, with a result of its own: what the reference kernel makes of it is the truth. */
export function inFloat64(call: AttentionCall): AttentionCall {
  const wide = (of: Tensor) => tensor(Float64Array.from(flat(of)), of.shape);
  const streams = [...new Set([...call.keyStreams, call.valueStream])];
  const blocks = call.blocks.map((block) => {
    const rows = new Map(streams.map((name) => [name, wide(block.read(name))]));
    return { positions: block.positions, read: (name: string) => rows.get(name)! };
  });
  const sinkLogits_H = call.sinkLogits_H && Float64Array.from(call.sinkLogits_H);
  return { ...call, q_THK: wide(call.q_THK), blocks, sinkLogits_H, out_THV: wide(call.out_THV) };
}

/** The largest |value| of a call's rows. */
export function largestValue({ blocks, valueStream }: AttentionCall): number {
  let largest = 0;
  for (const block of blocks)
    for (const value of flat(block.read(valueStream))) largest = Math.max(largest, Math.abs(value));
  return largest;
}

/** What the rounding of a call's scores depends on, from its numbers. Each query and key are multiplied once more for it. */
export function scoreSizeOf(call: AttentionCall): ScoreSize {
  const { q_THK, keyStreams, blocks, scale, softcap, alibi, positions } = call;
  const [, H, keyDim] = q_THK.shape as [number, number, number];
  const q = flat(q_THK);
  let most = 0;
  for (const block of blocks) {
    const parts = keyStreams.map((name) => block.read(name));
    const groups = parts[0]!.shape[1]!;
    const rows = parts.map((part) => ({ data: flat(part), dim: part.shape[2]! }));
    for (let row = 0; row < block.positions.length; row++) {
      for (let t = 0; t < positions.length; t++) {
        for (let h = 0; h < H; h++) {
          const g = Math.floor(h / (H / groups));
          let [sum, k] = [0, (t * H + h) * keyDim];
          for (const { data, dim } of rows) {
            for (let i = 0; i < dim; i++) sum += Math.abs(q[k++]! * data[(row * groups + g) * dim + i]!);
          }
          const bias = alibi ? biasOf(alibi, h, positions[t]!, block.positions[row]!) : 0;
          most = Math.max(most, sum * Math.abs(scale) + bias);
        }
      }
    }
  }
  return { keyDim, magnitude: most + (softcap ?? 0) };
}

function biasOf({ slopes, factor, form }: Alibi, h: number, query: number, key: number): number {
  return Math.abs(factor * slopes[h]! * (form === 'distance' ? key - query : key));
}
