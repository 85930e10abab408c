import { UsageError } from '../../src/errors.js';
import { expectGrouped, groupedForm, headStreams, projectHeads } from './grouped.js';
import type { StrategyBuilder } from './strategy.js';

/**
 * Multi-query attention (Shazeer 2019, "Fast Transformer Decoding"): all query heads share one key/value head. A checkpoint that has more
 * would have to be changed to have one, which is another model: `touchstone convert` makes it.
 */
export const multiQuery: StrategyBuilder = (config, weightsOfLayer) => {
  const { shape, weights } = expectGrouped('mqa', config, weightsOfLayer);
  if (shape.keyValueHeads !== 1) {
    throw new UsageError(
      `Attention mqa: the checkpoint has ${shape.keyValueHeads} key/value heads, and multi-query attention has one; ` +
        'choose gqa, or make another checkpoint with touchstone convert --to mqa.',
    );
  }
  return {
    ...groupedForm(shape, weights),
    name: 'mqa',
    streams: headStreams(1, shape),
    project(x_TD) {
      const { q_THK, k_TGK, v_TGV } = projectHeads(x_TD, weights, shape);
      return { q_THK, rows: { keys: k_TGK, values: v_TGV } };
    },
  };
};
