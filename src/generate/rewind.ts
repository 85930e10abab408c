import type { KvCache } from '../../attention/cache/cache.js';
import { commonBeginning } from './generate.js';

/**
 * Lets a cache go back to what it shares with a prompt, less the prompt's last token, whose logits are needed.
 * @param residual of the cache's form (`components.format.residual`): where rows are quantised that the token there reads as they were computed, it goes
 * back to the beginning of their block, and the rest is fed again
 * @returns how many tokens the two have in common
 * @throws RequestError, and changes nothing, if the cache has forgotten rows that it would need
 */
export function rewind(cache: KvCache, prompt: readonly number[], residual: number): number {
  const common = commonBeginning(cache.ids, prompt);
  const to = Math.min(common, prompt.length - 1);
  if (common > 0 && to < cache.next) goBack(cache, to, residual);
  return common;
}

function goBack(cache: KvCache, position: number, residual: number): void {
  try {
    cache.rollback(position);
  } catch (error) {
    const block = residual > 0 ? position - (position % residual) : position;
    if (block === position) throw error;
    cache.rollback(block);
  }
}
