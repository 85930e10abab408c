import type { Floats } from '../tensor/tensor.js';
import { roundingOf, storingOf, sumByIndex } from './sum.js';

/**
 * exp(x - max x) / sum of the same, in place over the first `count` values. `indices` are the entries' places on the reduced
 * axis (keys' absolute positions), ascending: they fix the order of the sum. A learned sink is one more logit, which takes its
 * part of the sum after all others, and weighs nothing (gpt-oss).
 *
 * It is one operation, which an emulated precision computes in float32 and leaves to be settled; but with a sink, the difference is an operation of
 * its own (`eager_attention_forward` of gpt-oss in transformers).
 */
export function softmaxInPlace(x: Floats, indices: Int32Array, count: number, sinkLogit: number | null = null): void {
  const round = roundingOf(x);
  const difference = sinkLogit === null ? round : storingOf(x);
  let greatest = sinkLogit ?? Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) greatest = Math.max(greatest, x[i]!);
  for (let i = 0; i < count; i++) x[i] = Math.exp(difference(x[i]! - greatest));
  let sum = sumByIndex(x, indices, count);
  if (sinkLogit !== null) sum = round(sum + round(Math.exp(difference(sinkLogit - greatest))));
  for (let i = 0; i < count; i++) x[i] = x[i]! / sum;
}
