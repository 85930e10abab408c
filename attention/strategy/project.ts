import { linear } from '../../src/math/linear.js';
import { type Rotation, rotateInPlace } from '../../src/math/rope.js';
import { reshaped, type Tensor } from '../../src/tensor/tensor.js';
import type { AttentionConfig, AttentionWeights } from './strategy.js';

/** x [T, D] -> q [T, H, K], k [T, G, K], v [T, G, V], with queries and keys rotated to their positions. */
export function projectHeads(
  x_TD: Tensor,
  weights: AttentionWeights,
  { queryHeads, keyValueHeads, headDim }: AttentionConfig,
  rotation: Rotation | null,
): { q_THK: Tensor; k_TGK: Tensor; v_TGV: Tensor } {
  const tokens = x_TD.shape[0]!;
  const q_THK = reshaped(linear(x_TD, weights.query), [tokens, queryHeads, headDim]);
  const k_TGK = reshaped(linear(x_TD, weights.key), [tokens, keyValueHeads, headDim]);
  const v_TGV = reshaped(linear(x_TD, weights.value), [tokens, keyValueHeads, headDim]);
  if (rotation) {
    rotateInPlace(q_THK, rotation);
    rotateInPlace(k_TGK, rotation);
  }
  return { q_THK, k_TGK, v_TGV };
}

/** [T, H, V] -> [T, D]: the heads side by side, through the output projection. */
export function joinHeads(attended_THV: Tensor, { output }: AttentionWeights): Tensor {
  const [tokens, heads, dim] = attended_THV.shape as [number, number, number];
  return linear(reshaped(attended_THV, [tokens, heads * dim]), output);
}
