/** How far the predictions of one run lie from those of another. */
import { argmax, logSoftmax } from '../generate/sampler.js';
import type { Floats } from '../tensor/tensor.js';

export interface Divergence {
  /** KL(exact || found) of the next token, in nats: mean and maximum over tokens. */
  readonly meanKl: number;
  readonly maxKl: number;
  /** The part of the tokens with the same likeliest next token. */
  readonly top1: number;
}

/** Of logits `found` from those that are `exact`, both [T, N], flat. @param vocabulary N */
export function divergenceOf(found: Floats, exact: Floats, vocabulary: number): Divergence {
  const tokens = exact.length / vocabulary;
  let [sum, maxKl, same] = [0, 0, 0];
  for (let t = 0; t < tokens; t++) {
    const rows = [exact, found].map((logits) => logits.subarray(t * vocabulary, (t + 1) * vocabulary));
    const kl = klOf(rows[0]!, rows[1]!);
    sum += kl;
    maxKl = Math.max(maxKl, kl);
    if (argmax(rows[0]!) === argmax(rows[1]!)) same++;
  }
  return { meanKl: sum / tokens, maxKl, top1: same / tokens };
}

function klOf(exact_N: Floats, found_N: Floats): number {
  const [p, q] = [logSoftmax(exact_N), logSoftmax(found_N)];
  let kl = 0;
  for (let i = 0; i < p.length; i++) kl += Math.exp(p[i]!) * (p[i]! - q[i]!);
  return Math.max(kl, 0); // equal rows may round below zero
}
