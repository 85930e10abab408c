/** What MHA, MQA and GQA share: one set of projections, and heads side by side. */
import { UsageError } from '../../src/errors.js';
import { clamped } from '../../src/math/elementwise.js';
import { type Linear, linear } from '../../src/math/linear.js';
import { type NormWeights, normalise } from '../../src/math/norm.js';
import { reshaped, type Tensor } from '../../src/tensor/tensor.js';
import type { StreamRows } from '../streams.js';
import { joinHeads } from './heads.js';
import type {
  AttentionConfig,
  AttentionWeights,
  GroupedConfig,
  GroupedWeights,
  QkNormConfig,
  RotatedStream,
} from './strategy.js';

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
  { query, key, value, queryNorm, keyNorm }: GroupedWeights,
  { queryHeads, keyValueHeads, headDim, qkNorm, clip }: GroupedConfig,
): { q_THK: Tensor; k_TGK: Tensor; v_TGV: Tensor } {
  const heads = (projection: Linear, count: number, norm: NormWeights | null) => {
    const x_THK = reshaped(linear(x_TD, projection), [x_TD.shape[0]!, count, headDim]);
    const normed_THK = norm && qkNorm?.place === 'before-rope' ? normaliseHeads(x_THK, qkNorm, norm) : x_THK;
    return clip === null ? normed_THK : clamped(normed_THK, -clip, clip);
  };
  return {
    q_THK: heads(query, queryHeads, queryNorm),
    k_TGK: heads(key, keyValueHeads, keyNorm),
    v_TGV: heads(value, keyValueHeads, null),
  };
}

function normaliseHeads(x_THK: Tensor, { norm, scope }: QkNormConfig, weights: NormWeights): Tensor {
  const [tokens, heads, dim] = x_THK.shape as [number, number, number];
  if (scope !== 'heads-together') return normalise(x_THK, norm, weights);
  return reshaped(normalise(reshaped(x_THK, [tokens, heads * dim]), norm, weights), [tokens, heads, dim]);
}

/** What the three have in common: all but what is stored. */
export function groupedForm(
  { scale, queryHeads, softcap, alibi, scoreStores, temperature, qkNorm, sinks: hasSinks }: GroupedConfig,
  { sinks, output, queryNorm, keyNorm }: GroupedWeights,
) {
  const rotatedFirst = qkNorm?.place === 'after-rope' ? qkNorm : null;
  return {
    keyStreams: ['keys'],
    valueStream: 'values',
    scale,
    queryHeads,
    sinkLogits_H: hasSinks ? sinks : null,
    softcap,
    alibi,
    scoreStores,
    temperature,
    afterRope:
      rotatedFirst &&
      ((q_THK: Tensor, rows: StreamRows) => ({
        q_THK: normaliseHeads(q_THK, rotatedFirst, queryNorm!),
        rows: { ...rows, keys: normaliseHeads(rows.keys!, rotatedFirst, keyNorm!) },
      })),
    output: (attended_THV: Tensor) => joinHeads(attended_THV, output),
  };
}
