/** Choices of a router: whether another one means anything. */
import type { Floats } from '../../tensor/tensor.js';
import type { Aligned } from './align.js';

/**
 * How far each row's choice lies from ours, in terms of the noise of the router's logits: by the largest gap, in ours, between an expert that we
 * chose alone and one that they did. 0 where the choice is the same.
 * @param logits ours [R, E], null: unknown @param noise greatest noise of each row of them
 */
export function gapsOf(
  { theirs, ours, ourRows, rowShape }: Aligned,
  logits: Floats | null,
  noise: readonly number[],
  experts: number,
): number[] {
  const k = rowShape[0]!;
  return ourRows.map((ourRow, row) => {
    const [a, b] = [theirs, ours].map((all) => [...all.subarray(row * k, (row + 1) * k)]) as [number[], number[]];
    const [theirOwn, ourOwn] = [a.filter((e) => !b.includes(e)), b.filter((e) => !a.includes(e))];
    if (theirOwn.length === 0 && ourOwn.length === 0) return 0;
    if (!logits || theirOwn.some((e) => !(e >= 0 && e < experts))) return Number.POSITIVE_INFINITY;
    const logit = (e: number) => logits[ourRow * experts + e]!;
    const gap = Math.max(...ourOwn.map(logit)) - Math.min(...theirOwn.map(logit));
    return Math.abs(gap) / noise[row]!;
  });
}
