import { flat, type Tensor, zerosLike } from '../../src/tensor/tensor.js';
import { joinHeads, projectHeads } from './project.js';
import type { StrategyBuilder } from './strategy.js';

/**
 * Multi-head attention (Vaswani et al. 2017): every query head has a key/value head of its own. Where the checkpoint has fewer,
 * each is repeated for the query heads that share it, which stores H / G times as much and gives the same logits to the bit.
 */
export const multiHead: StrategyBuilder = (config, weights) => ({
  name: 'mha',
  streams: [
    { name: 'keys', heads: config.queryHeads, dim: config.headDim },
    { name: 'values', heads: config.queryHeads, dim: config.headDim },
  ],
  keyStreams: ['keys'],
  valueStream: 'values',
  scale: config.scale,
  queryHeads: config.queryHeads,
  project(x_TD, rotation) {
    const { q_THK, k_TGK, v_TGV } = projectHeads(x_TD, weights, config, rotation);
    const copies = config.queryHeads / config.keyValueHeads;
    return { q_THK, rows: { keys: repeatHeads(k_TGK, copies), values: repeatHeads(v_TGV, copies) } };
  },
  output: (attended_THV) => joinHeads(attended_THV, weights),
});

/** [T, G, K] -> [T, G copies, K]: head 0 `copies` times, then head 1, ... (repeated, not tiled). */
function repeatHeads(x_TGK: Tensor, copies: number): Tensor {
  const [tokens, groups, dim] = x_TGK.shape as [number, number, number];
  const [x, repeated] = [flat(x_TGK), zerosLike(x_TGK, [tokens, groups * copies, dim])];
  for (let head = 0; head < tokens * groups * copies; head++) {
    const from = Math.floor(head / copies) * dim;
    repeated.data.set(x.subarray(from, from + dim), head * dim);
  }
  return repeated;
}
