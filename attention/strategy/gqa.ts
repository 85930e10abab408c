import { joinHeads, projectHeads } from './project.js';
import type { StrategyBuilder } from './strategy.js';

/**
 * Grouped-query attention (Ainslie et al. 2023): G key/value heads are stored, and H / G query heads share each.
 * The general form: with G = H it is multi-head attention, with G = 1 multi-query attention.
 */
export const groupedQuery: StrategyBuilder = (config, weights) => ({
  name: 'gqa',
  streams: [
    { name: 'keys', heads: config.keyValueHeads, dim: config.headDim },
    { name: 'values', heads: config.keyValueHeads, dim: config.headDim },
  ],
  keyStreams: ['keys'],
  valueStream: 'values',
  scale: config.scale,
  queryHeads: config.queryHeads,
  project(x_TD, rotation) {
    const { q_THK, k_TGK, v_TGV } = projectHeads(x_TD, weights, config, rotation);
    return { q_THK, rows: { keys: k_TGK, values: v_TGV } };
  },
  output: (attended_THV) => joinHeads(attended_THV, weights),
});
