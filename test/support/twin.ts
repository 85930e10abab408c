/** A kernel beside the reference: every call is computed by both, held against the bound that the kernel declares, and goes on with the reference's result. */
import type { AttentionCall, AttentionKernel, ScoreSize } from '../../attention/kernel/kernel.js';
import { reference } from '../../attention/kernel/reference.js';
import type { Scratch } from '../../attention/kernel/scratch.js';
import type { Alibi } from '../../attention/scores.js';
import type { Model } from '../../src/model/load.js';
import { type Floats, flat, zerosLike } from '../../src/tensor/tensor.js';

/** What a twin has seen. */
export interface Seen {
  calls: number;
  /** The largest error, as a part of the bound. */
  worst: number;
}

export function twinOf(kernel: AttentionKernel, seen: Seen): AttentionKernel {
  return {
    name: `${kernel.name} beside reference`,
    bound: () => 0,
    async attend(calls, scratch?: Scratch) {
      const own = calls.map((call) => ({ ...call, out_THV: zerosLike(call.out_THV, call.out_THV.shape) }));
      await kernel.attend(own, scratch);
      await reference.attend(calls, scratch);
      for (const [i, call] of calls.entries()) {
        seen.calls++;
        const part = errorOf(flat(own[i]!.out_THV), call, kernel);
        seen.worst = Math.max(seen.worst, part);
        if (!(part <= 1)) throw new Error(`${kernel.name} is wrong by ${part} times its bound`);
      }
    },
  };
}

/** The same model with another kernel in every layer. */
export function withKernel(model: Model, kernel: AttentionKernel): Model {
  const layers = model.components.layers.map((layer) => ({ ...layer, kernel }));
  return { ...model, components: { ...model.components, kernel, layers } };
}

/** The largest difference to the call's result, as a part of the bound. */
function errorOf(found: Floats, call: AttentionCall, kernel: AttentionKernel): number {
  const expected = flat(call.out_THV);
  const keys = call.blocks.reduce((sum, { positions }) => sum + positions.length, 0);
  const bound = kernel.bound(keys, scoreSizeOf(call)) * 2 ** -24 * largestValue(call);
  let error = 0;
  for (const [i, value] of expected.entries()) {
    const apart = Math.abs(found[i]! - value);
    if (!(apart <= error)) error = apart; // NaN too
  }
  return error === 0 ? 0 : error / bound;
}

export function largestValue({ blocks, valueStream }: AttentionCall): number {
  let largest = 0;
  for (const block of blocks)
    for (const value of flat(block.read(valueStream))) largest = Math.max(largest, Math.abs(value));
  return largest;
}

/** What the rounding of a call's scores depends on, from its numbers. */
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
