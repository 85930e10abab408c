import { joinHeads, linearByHead } from './heads.js';
import { absorbedQueries, expectLatent, latentForm, latentMatrices, latentStreams, projectLatent } from './latent.js';
import type { StrategyBuilder } from './strategy.js';

/**
 * Multi-head latent attention, absorbed (DeepSeek-V2, section 2.1.2): q . (W_key c) = (W_key^T q) . c, so queries go into the latent
 * space, where all heads share one key (latent, rope key) and one value (the latent): multi-query attention. Only those are stored, and
 * what was attended to is expanded by each head's value rows.
 */
export const latentAbsorbed: StrategyBuilder = (config, weightsOfLayer) => {
  const { shape, weights } = expectLatent('mla', config, weightsOfLayer);
  const { intoLatent, outOfLatent } = latentMatrices(weights, shape);
  return {
    ...latentForm(shape),
    name: 'mla',
    streams: latentStreams(shape),
    keyStreams: ['latent', 'rope-key'],
    valueStream: 'latent',
    project(x_TD) {
      const { q_THK, latent_T1C, ropeKey_T1R } = projectLatent(x_TD, weights, shape);
      const qAbsorbed_THK = absorbedQueries(q_THK, intoLatent, shape);
      return { q_THK: qAbsorbed_THK, rows: { latent: latent_T1C, 'rope-key': ropeKey_T1R } };
    },
    output: (attended_THC) => joinHeads(linearByHead(attended_THC, outOfLatent), weights.output),
  };
};
