import { groupedQuery } from './gqa.js';
import { multiHead } from './mha.js';
import { latentAbsorbed } from './mla.js';
import { latentNaive } from './mla-naive.js';
import { multiQuery } from './mqa.js';
import type { StrategyBuilder } from './strategy.js';

/** Strategies that can be chosen by name. */
export const STRATEGIES = {
  mha: multiHead,
  mqa: multiQuery,
  gqa: groupedQuery,
  mla: latentAbsorbed,
  'mla-naive': latentNaive,
} satisfies Record<string, StrategyBuilder>;

export type StrategyName = keyof typeof STRATEGIES;
