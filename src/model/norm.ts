import { rmsNorm } from '../math/norm.js';
import type { Floats, Tensor } from '../tensor/tensor.js';
import type { NormConfig } from './config.js';

/** The norm that the config names: x [T, D], weight [D] -> [T, D]. */
export function normalise(x_TD: Tensor, weight_D: Floats, norm: NormConfig): Tensor {
  switch (norm.kind) {
    case 'rms':
      return rmsNorm(x_TD, weight_D, norm.eps);
    default:
      return norm.kind satisfies never;
  }
}
