import { rowsOfMatrix, transposed } from '../../src/tensor/matrix.js';
import { besideHeads, joinHeads, linearByHead, sliceOfHeads } from './heads.js';
import { expectLatent, projectLatent } from './latent.js';
import type { StrategyBuilder } from './strategy.js';

/**
 * Multi-head latent attention, absorbed (DeepSeek-V2, section 2.1.2): q . (W_key c) = (W_key^T q) . c, so queries go into the latent
 * space, where all heads share one key (latent, rope key) and one value (the latent): multi-query attention. Only those are stored, and
 * what was attended to is expanded by each head's value rows.
 */
export const latentAbsorbed: StrategyBuilder = (config, given) => {
  const { shape, weights } = expectLatent('mla', config, given);
  const { queryHeads, nopeDim, ropeDim, valueDim, latentRank } = shape;
  const rowsOfHead = (h: number, from: number, count: number) =>
    rowsOfMatrix(weights.expand.weight, h * (nopeDim + valueDim) + from, count);
  const heads = Array.from({ length: queryHeads }, (_, h) => h);
  const intoLatent = heads.map((h) => ({ weight: transposed(rowsOfHead(h, 0, nopeDim)), bias: null })); // [C, nope]
  const outOfLatent = heads.map((h) => ({ weight: rowsOfHead(h, nopeDim, valueDim), bias: null })); // [V, C]
  return {
    name: 'mla',
    streams: [
      { name: 'latent', heads: 1, dim: latentRank, ropeFrom: null },
      { name: 'rope-key', heads: 1, dim: ropeDim, ropeFrom: 0 },
    ],
    keyStreams: ['latent', 'rope-key'],
    valueStream: 'latent',
    scale: shape.scale,
    queryHeads,
    queryRopeFrom: latentRank,
    sinkLogits_H: null,
    project(x_TD) {
      const { q_THK, latent_T1C, ropeKey_T1R } = projectLatent(x_TD, weights, shape);
      const q_THC = linearByHead(sliceOfHeads(q_THK, 0, nopeDim), intoLatent);
      const q = besideHeads(q_THC, sliceOfHeads(q_THK, nopeDim, nopeDim + ropeDim));
      return { q_THK: q, rows: { latent: latent_T1C, 'rope-key': ropeKey_T1R } };
    },
    output: (attended_THC) => joinHeads(linearByHead(attended_THC, outOfLatent), weights.output),
  };
};
