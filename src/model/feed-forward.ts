import { activate, multiply } from '../math/elementwise.js';
import { linear } from '../math/linear.js';
import type { Tensor } from '../tensor/tensor.js';
import type { FeedForwardConfig } from './config.js';
import type { GatedWeights } from './weights.js';

/** x [T, D] -> down(activation(gate x) * up x) [T, D] (Shazeer 2020, equation 6). */
export function feedForward(x_TD: Tensor, { gate, up, down }: GatedWeights, { activation }: FeedForwardConfig): Tensor {
  const gate_TF = activate(linear(x_TD, gate), activation);
  return linear(multiply(gate_TF, linear(x_TD, up)), down);
}
