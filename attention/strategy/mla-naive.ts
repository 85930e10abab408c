import { untapped } from '../../src/tensor/tap.js';
import { joinHeads } from './heads.js';
import { expandedHeads, expandedStreams, expectLatent, latentForm, projectLatent } from './latent.js';
import type { StrategyBuilder } from './strategy.js';

/**
 * Multi-head latent attention as it is written down (DeepSeek-V2, section 2.1): each head's key and value are expanded from the
 * token's latent and stored, as in multi-head attention. The oracle for `mla`.
 */
export const latentNaive: StrategyBuilder = (config, weightsOfLayer) => {
  const { shape, weights } = expectLatent('mla-naive', config, weightsOfLayer);
  return {
    ...latentForm(shape),
    name: 'mla-naive',
    streams: expandedStreams(shape),
    keyStreams: ['keys'],
    valueStream: 'values',
    project(x_TD, tap = untapped) {
      const projected = projectLatent(x_TD, weights, shape);
      const { q_THK } = projected;
      const [latent_T1C, ropeKey_T1R] = [tap('latent', projected.latent_T1C), tap('rope_key', projected.ropeKey_T1R)];
      const { k_THK, v_THV } = expandedHeads(latent_T1C, ropeKey_T1R, weights, shape);
      return { q_THK, rows: { keys: k_THK, values: v_THV } };
    },
    output: (attended_THV) => joinHeads(attended_THV, weights.output),
  };
};
