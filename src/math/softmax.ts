import type { Floats } from '../tensor/tensor.js';
import { roundingOf, sumByIndex } from './sum.js';

/**
 * exp(x - max x) / sum of the same, in place over the first `count` values. `indices` are the entries' places on the reduced
 * axis (keys' absolute positions), ascending: they fix the order of the sum. A learned sink is one more logit, which takes its
 * part of the sum after all others, and weighs nothing (gpt-oss).
 */
export function softmaxInPlace(x: Floats, indices: Int32Array, count: number, sinkLogit: number | null = null): void {
  const round = roundingOf(x);
  let greatest = sinkLogit ?? Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) greatest = Math.max(greatest, x[i]!);
  for (let i = 0; i < count; i++) x[i] = Math.exp(round(x[i]! - greatest));
  let sum = sumByIndex(x, indices, count);
  if (sinkLogit !== null) sum = round(sum + round(Math.exp(round(sinkLogit - greatest))));
  for (let i = 0; i < count; i++) x[i] = x[i]! / sum;
}
