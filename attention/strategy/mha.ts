import { expectGrouped, groupedForm, headStreams, projectHeads } from './grouped.js';
import { repeatHeads } from './heads.js';
import type { StrategyBuilder } from './strategy.js';

/**
 * Multi-head attention (Vaswani et al. 2017): every query head has a key/value head of its own. Where the checkpoint has fewer,
 * each is repeated for the query heads that share it, which stores H / G times as much and gives the same logits to the bit.
 */
export const multiHead: StrategyBuilder = (config, weightsOfLayer) => {
  const { shape, weights } = expectGrouped('mha', config, weightsOfLayer);
  const copies = shape.queryHeads / shape.keyValueHeads;
  return {
    ...groupedForm(shape, weights),
    name: 'mha',
    streams: headStreams(shape.queryHeads, shape),
    project(x_TD) {
      const { q_THK, k_TGK, v_TGV } = projectHeads(x_TD, weights, shape);
      return { q_THK, rows: { keys: repeatHeads(k_TGK, copies), values: repeatHeads(v_TGV, copies) } };
    },
  };
};
