/** What MHA, MQA and GQA share: one set of projections, and heads side by side. */
import { UsageError } from '../../src/errors.js';
import { linear } from '../../src/math/linear.js';
import { reshaped, type Tensor } from '../../src/tensor/tensor.js';
import { joinHeads } from './heads.js';
import type { AttentionConfig, AttentionWeights, GroupedConfig, GroupedWeights, RotatedStream } from './strategy.js';

/** @throws UsageError for a layer that stores a latent. */
export function expectGrouped(
  name: string,
  config: AttentionConfig,
  weights: AttentionWeights,
): { shape: GroupedConfig; weights: GroupedWeights } {
  if (config.kind === 'grouped' && weights.kind === 'grouped') return { shape: config, weights };
  throw new UsageError(
    `Attention ${name}: this checkpoint stores a latent for each token, not key/value heads; ` +
      'choose mla, or mla-naive, which expands keys and values for every head.',
  );
}

/** What is stored for a token: a key and a value for each of these heads. */
export function headStreams(heads: number, { headDim }: Pick<GroupedConfig, 'headDim'>): RotatedStream[] {
  return [
    { name: 'keys', heads, dim: headDim, key: true, ropeFrom: 0 },
    { name: 'values', heads, dim: headDim, key: false, ropeFrom: null },
  ];
}

/** x [T, D] -> q [T, H, K], k [T, G, K], v [T, G, V] */
export function projectHeads(
  x_TD: Tensor,
  { query, key, value }: GroupedWeights,
  { queryHeads, keyValueHeads, headDim }: GroupedConfig,
): { q_THK: Tensor; k_TGK: Tensor; v_TGV: Tensor } {
  const tokens = x_TD.shape[0]!;
  return {
    q_THK: reshaped(linear(x_TD, query), [tokens, queryHeads, headDim]),
    k_TGK: reshaped(linear(x_TD, key), [tokens, keyValueHeads, headDim]),
    v_TGV: reshaped(linear(x_TD, value), [tokens, keyValueHeads, headDim]),
  };
}

/** What the three have in common: all but what is stored. */
export function groupedForm({ scale, queryHeads }: GroupedConfig, { sinks, output }: GroupedWeights) {
  return {
    keyStreams: ['keys'],
    valueStream: 'values',
    scale,
    queryHeads,
    sinkLogits_H: sinks,
    output: (attended_THV: Tensor) => joinHeads(attended_THV, output),
  };
}
