import { activate, clamped, multiply, plusOne, scaledSilu } from '../math/elementwise.js';
import { linear } from '../math/linear.js';
import { type Tap, untapped } from '../tensor/tap.js';
import type { Tensor } from '../tensor/tensor.js';
import type { FeedForwardConfig, GatedConfig, PlainConfig } from './config.js';
import { mixture } from './experts.js';
import type { FeedForwardWeights, GatedWeights, PlainWeights } from './weights.js';

/** The feed-forward layer that the config names: x [T, D] -> [T, D]. */
export function feedForward(
  x_TD: Tensor,
  weights: FeedForwardWeights,
  config: FeedForwardConfig,
  tap: Tap = untapped,
): Tensor {
  if (config.kind === 'plain' && weights.kind === 'plain') return plain(x_TD, weights, config, tap);
  if (config.kind === 'gated' && weights.kind === 'gated') return gated(x_TD, weights, config, tap);
  if (config.kind === 'experts' && weights.kind === 'experts') return mixture(x_TD, weights, config, tap);
  throw new Error(`feed-forward: a config of kind ${config.kind} with weights of kind ${weights.kind}`);
}

/** x [T, D] -> down(activation(up x)) [T, D] (Vaswani et al. 2017, equation 2). */
function plain(x_TD: Tensor, { up, down }: PlainWeights, { activation }: PlainConfig, tap: Tap): Tensor {
  return linear(tap(HIDDEN, activate(linear(x_TD, up), activation)), down);
}

/** x [T, D] -> down(activation(gate x) * up x) [T, D] (Shazeer 2020, equation 6). */
export function gated(
  x_TD: Tensor,
  { gate, up, down }: GatedWeights,
  { activation, clamp }: GatedConfig,
  tap: Tap = untapped,
): Tensor {
  const [gate_TF, up_TF] = [linear(x_TD, gate), linear(x_TD, up)];
  if (!clamp) return linear(tap(HIDDEN, multiply(activate(gate_TF, activation), up_TF)), down);
  const open_TF = scaledSilu(clamped(gate_TF, Number.NEGATIVE_INFINITY, clamp.limit), clamp.alpha);
  return linear(tap(HIDDEN, multiply(plusOne(clamped(up_TF, -clamp.limit, clamp.limit)), open_TF)), down);
}

const HIDDEN = 'feed_forward.hidden';
