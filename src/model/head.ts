import { scaled, softcapped } from '../math/elementwise.js';
import { linear } from '../math/linear.js';
import { emulationOf } from '../tensor/emulated.js';
import type { Tensor } from '../tensor/tensor.js';
import type { HeadConfig } from './config.js';
import type { HeadWeights } from './weights.js';

/** The last hidden states [T, D], normed -> logits [T, N]. */
export function logitsOf(
  x_TD: Tensor,
  { projectOut, output }: HeadWeights,
  { scale, scalesHidden, softcap }: HeadConfig,
): Tensor {
  const x_TW = projectOut ? linear(x_TD, projectOut) : x_TD;
  const first = scalesHidden === true && emulationOf(x_TW.data) !== null;
  const logits_TN = first ? linear(scaled(x_TW, scale), output) : scaled(linear(x_TW, output), scale);
  return softcap === null ? logits_TN : softcapped(logits_TN, softcap);
}
