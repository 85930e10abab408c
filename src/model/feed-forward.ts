import { type Activation, activate, multiply } from '../math/elementwise.js';
import { linear } from '../math/linear.js';
import type { Tensor } from '../tensor/tensor.js';
import type { FeedForwardConfig } from './config.js';
import type { GatedWeights } from './weights.js';

/** The feed-forward layer that the config names: x [T, D] -> [T, D]. */
export function feedForward(x_TD: Tensor, weights: GatedWeights, config: FeedForwardConfig): Tensor {
  switch (config.kind) {
    case 'gated':
      return gated(x_TD, weights, config.activation);
    default:
      return config.kind satisfies never;
  }
}

/** x [T, D] -> down(activation(gate x) * up x) [T, D] (Shazeer 2020, equation 6). */
function gated(x_TD: Tensor, { gate, up, down }: GatedWeights, activation: Activation): Tensor {
  const gate_TF = activate(linear(x_TD, gate), activation);
  return linear(multiply(gate_TF, linear(x_TD, up)), down);
}
