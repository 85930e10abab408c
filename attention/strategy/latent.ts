/** What the two forms of MLA share: queries, the latent and the rope key (DeepSeek-V2, equations 9 to 15). */
import { UsageError } from '../../src/errors.js';
import { linear } from '../../src/math/linear.js';
import { rmsNorm } from '../../src/math/norm.js';
import { reshaped, type Tensor } from '../../src/tensor/tensor.js';
import { sliceOfHeads } from './heads.js';
import type { AttentionConfig, AttentionWeights, LatentConfig, LatentWeights } from './strategy.js';

/** @throws UsageError for a layer that has key/value heads. */
export function expectLatent(
  name: string,
  config: AttentionConfig,
  weights: AttentionWeights,
): { shape: LatentConfig; weights: LatentWeights } {
  if (config.kind === 'latent' && weights.kind === 'latent') return { shape: config, weights };
  throw new UsageError(
    `Attention ${name}: this checkpoint has key/value heads, and no latent that they come from; choose gqa or mha.`,
  );
}

/** x [T, D] -> q [T, H, nope + R], latent [T, 1, C], rope key [T, 1, R] */
export function projectLatent(
  x_TD: Tensor,
  weights: LatentWeights,
  { queryHeads, nopeDim, ropeDim, latentRank, normEps }: LatentConfig,
): { q_THK: Tensor; latent_T1C: Tensor; ropeKey_T1R: Tensor } {
  const tokens = x_TD.shape[0]!;
  const both = reshaped(linear(x_TD, weights.compress), [tokens, 1, latentRank + ropeDim]);
  const latent_TC = reshaped(sliceOfHeads(both, 0, latentRank), [tokens, latentRank]);
  return {
    q_THK: reshaped(queries(x_TD, weights, normEps), [tokens, queryHeads, nopeDim + ropeDim]),
    latent_T1C: reshaped(rmsNorm(latent_TC, weights.latentNorm, normEps), [tokens, 1, latentRank]),
    ropeKey_T1R: sliceOfHeads(both, latentRank, latentRank + ropeDim),
  };
}

function queries(x_TD: Tensor, { query }: LatentWeights, normEps: number): Tensor {
  if ('weight' in query) return linear(x_TD, query);
  return linear(rmsNorm(linear(x_TD, query.down), query.norm, normEps), query.up);
}
