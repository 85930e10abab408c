/** What the two forms of MLA share: queries, the latent and the rope key (DeepSeek-V2, equations 9 to 15). */
import { UsageError } from '../../src/errors.js';
import { type Linear, linear } from '../../src/math/linear.js';
import { type NormConfig, normalise } from '../../src/math/norm.js';
import { rowsOfMatrix, transposed } from '../../src/tensor/matrix.js';
import { reshaped, type Tensor } from '../../src/tensor/tensor.js';
import { PLAIN_SCORES } from '../scores.js';
import { concatHeads, linearByHead, repeatHeads, sliceOfHeads } from './heads.js';
import type { AttentionConfig, AttentionWeights, LatentConfig, LatentWeights, RotatedStream } from './strategy.js';

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

/** What the absorbed form stores for a token. */
export function latentStreams({ latentRank, ropeDim }: Pick<LatentConfig, 'latentRank' | 'ropeDim'>): RotatedStream[] {
  return [
    { name: 'latent', heads: 1, dim: latentRank, key: true, ropeFrom: null },
    { name: 'rope-key', heads: 1, dim: ropeDim, key: true, ropeFrom: 0 },
  ];
}

/** What the naive form stores for a token. */
export function expandedStreams({
  queryHeads,
  nopeDim,
  ropeDim,
  valueDim,
}: Pick<LatentConfig, 'queryHeads' | 'nopeDim' | 'ropeDim' | 'valueDim'>): RotatedStream[] {
  return [
    { name: 'keys', heads: queryHeads, dim: nopeDim + ropeDim, key: true, ropeFrom: nopeDim },
    { name: 'values', heads: queryHeads, dim: valueDim, key: false, ropeFrom: null },
  ];
}

/** What neither form has, and both have in common. */
export function latentForm({ scale, queryHeads }: LatentConfig) {
  return { scale, queryHeads, sinkLogits_H: null, ...PLAIN_SCORES, temperature: null, afterRope: null };
}

/** x [T, D] -> q [T, H, nope + R], latent [T, 1, C], rope key [T, 1, R] */
export function projectLatent(
  x_TD: Tensor,
  weights: LatentWeights,
  { queryHeads, nopeDim, ropeDim, latentRank, norm }: LatentConfig,
): { q_THK: Tensor; latent_T1C: Tensor; ropeKey_T1R: Tensor } {
  const tokens = x_TD.shape[0]!;
  const compressed_T1K = reshaped(linear(x_TD, weights.compress), [tokens, 1, latentRank + ropeDim]);
  const latent_TC = reshaped(sliceOfHeads(compressed_T1K, 0, latentRank), [tokens, latentRank]);
  return {
    q_THK: reshaped(queries(x_TD, weights, norm), [tokens, queryHeads, nopeDim + ropeDim]),
    latent_T1C: reshaped(normalise(latent_TC, norm, weights.latentNorm), [tokens, 1, latentRank]),
    ropeKey_T1R: sliceOfHeads(compressed_T1K, latentRank, latentRank + ropeDim),
  };
}

function queries(x_TD: Tensor, { query }: LatentWeights, norm: NormConfig): Tensor {
  if ('weight' in query) return linear(x_TD, query);
  return linear(normalise(linear(x_TD, query.down), norm, query.norm), query.up);
}

/** Each head's own key and value: latent [T, 1, C], rope key [T, 1, R] -> keys [T, H, nope + R], values [T, H, V]. */
export function expandedHeads(
  latent_T1C: Tensor,
  ropeKey_T1R: Tensor,
  { expand }: LatentWeights,
  { queryHeads, nopeDim, valueDim, latentRank }: LatentConfig,
): { k_THK: Tensor; v_THV: Tensor } {
  const tokens = latent_T1C.shape[0]!;
  const expanded = linear(reshaped(latent_T1C, [tokens, latentRank]), expand);
  const expanded_THK = reshaped(expanded, [tokens, queryHeads, nopeDim + valueDim]);
  return {
    k_THK: concatHeads(sliceOfHeads(expanded_THK, 0, nopeDim), repeatHeads(ropeKey_T1R, queryHeads)),
    v_THV: sliceOfHeads(expanded_THK, nopeDim, nopeDim + valueDim),
  };
}

/** The rows of `expand` by head: W_key transposed [C, nope], which takes a query into the latent space, and W_value [V, C]. */
export function latentMatrices(
  { expand }: LatentWeights,
  { queryHeads, nopeDim, valueDim }: LatentConfig,
): { intoLatent: Linear[]; outOfLatent: Linear[] } {
  const rowsOfHead = (h: number, from: number, count: number) =>
    rowsOfMatrix(expand.weight, h * (nopeDim + valueDim) + from, count);
  const heads = Array.from({ length: queryHeads }, (_, h) => h);
  return {
    intoLatent: heads.map((h) => ({ weight: transposed(rowsOfHead(h, 0, nopeDim)), bias: null })),
    outOfLatent: heads.map((h) => ({ weight: rowsOfHead(h, nopeDim, valueDim), bias: null })),
  };
}

/** Queries [T, H, nope + R] -> [T, H, C + R]. */
export function absorbedQueries(
  q_THK: Tensor,
  intoLatent: readonly Linear[],
  { nopeDim, ropeDim }: LatentConfig,
): Tensor {
  const q_THC = linearByHead(sliceOfHeads(q_THK, 0, nopeDim), intoLatent);
  return concatHeads(q_THC, sliceOfHeads(q_THK, nopeDim, nopeDim + ropeDim));
}
