import { groupedQuery } from './gqa.js';
import { multiHead } from './mha.js';
import type { StrategyBuilder } from './strategy.js';

/** Strategies that can be chosen by name. */
export const STRATEGIES = { gqa: groupedQuery, mha: multiHead } satisfies Record<string, StrategyBuilder>;

export type StrategyName = keyof typeof STRATEGIES;
