import { expectGrouped, groupedForm, headStreams, projectHeads } from './grouped.js';
import type { StrategyBuilder } from './strategy.js';

/**
 * Grouped-query attention (Ainslie et al. 2023): G key/value heads are stored, and H / G query heads share each.
 * The general form: with G = H it is multi-head attention, with G = 1 multi-query attention.
 */
export const groupedQuery: StrategyBuilder = (config, weightsOfLayer) => {
  const { shape, weights } = expectGrouped('gqa', config, weightsOfLayer);
  return {
    ...groupedForm(shape, weights),
    name: 'gqa',
    streams: headStreams(shape.keyValueHeads, shape),
    project(x_TD) {
      const { q_THK, k_TGK, v_TGV } = projectHeads(x_TD, weights, shape);
      return { q_THK, rows: { keys: k_TGK, values: v_TGV } };
    },
  };
};
