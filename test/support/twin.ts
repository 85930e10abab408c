/** A kernel beside the reference: every call is computed by both, held against the bound that the kernel declares, and goes on with the reference's result. */
import type { AttentionCall, AttentionKernel } from '../../attention/kernel/kernel.js';
import { reference } from '../../attention/kernel/reference.js';
import type { Scratch } from '../../attention/kernel/scratch.js';
import type { Model } from '../../src/model/load.js';
import { largestValue, scoreSizeOf } from '../../src/reference/kernel-error.js';
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
    error = Math.max(error, apart); // which keeps a NaN
  }
  return error === 0 ? 0 : error / bound;
}
