import { linear } from '../../src/math/linear.js';
import { reshaped } from '../../src/tensor/tensor.js';
import { besideHeads, joinHeads, repeatHeads, sliceOfHeads } from './heads.js';
import { expectLatent, projectLatent } from './latent.js';
import type { StrategyBuilder } from './strategy.js';

/**
 * Multi-head latent attention as it is written down (DeepSeek-V2, section 2.1): each head's key and value are expanded from the
 * token's latent and stored, as in multi-head attention. The oracle for `mla`.
 */
export const latentNaive: StrategyBuilder = (config, given) => {
  const { shape, weights } = expectLatent('mla-naive', config, given);
  const { queryHeads, nopeDim, ropeDim, valueDim, latentRank } = shape;
  return {
    name: 'mla-naive',
    streams: [
      { name: 'keys', heads: queryHeads, dim: nopeDim + ropeDim, ropeFrom: nopeDim },
      { name: 'values', heads: queryHeads, dim: valueDim, ropeFrom: null },
    ],
    keyStreams: ['keys'],
    valueStream: 'values',
    scale: shape.scale,
    queryHeads,
    queryRopeFrom: nopeDim,
    sinkLogits_H: null,
    project(x_TD) {
      const { q_THK, latent_T1C, ropeKey_T1R } = projectLatent(x_TD, weights, shape);
      const tokens = x_TD.shape[0]!;
      const latent_TC = reshaped(latent_T1C, [tokens, latentRank]);
      const both = reshaped(linear(latent_TC, weights.expand), [tokens, queryHeads, nopeDim + valueDim]);
      const keys = besideHeads(sliceOfHeads(both, 0, nopeDim), repeatHeads(ropeKey_T1R, queryHeads));
      return { q_THK, rows: { keys, values: sliceOfHeads(both, nopeDim, nopeDim + valueDim) } };
    },
    output: (attended_THV) => joinHeads(attended_THV, weights.output),
  };
};
