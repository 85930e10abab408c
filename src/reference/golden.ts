/** Goldens in memory: what a model answers to given tokens. (`trace/` writes them to files.) */
import type { KvCache } from '../../attention/cache/cache.js';
import type { Model } from '../model/load.js';
import { type Floats, flat, floats } from '../tensor/tensor.js';
import { type RunOptions, runGreedy } from './trace/run.js';

export interface Golden {
  /** [T] the prompt */
  readonly inputIds: readonly number[];
  /** [T + max(steps - 1, 0), N], one row for each token that was fed; row t predicts token t + 1. */
  readonly logits: Floats;
  readonly vocabulary: number;
  /** [steps] greedy continuation; an end-of-sequence token does not end it. */
  readonly generatedIds: readonly number[];
  /** [steps] top-1 minus top-2 logit where each token was chosen. */
  readonly margins: Floats;
}

export interface GoldenOptions extends RunOptions {
  readonly steps: number;
}

/**
 * Runs a prompt and its greedy continuation.
 * @param cache an empty cache of this model
 * @throws RequestError if the cache is not empty, the request does not fit the model, or logits are NaN
 */
export async function makeGolden(
  model: Model,
  inputIds: readonly number[],
  cache: KvCache,
  options: GoldenOptions,
): Promise<Golden> {
  const vocabulary = model.config.vocabulary;
  const rows = inputIds.length + Math.max(options.steps - 1, 0);
  const logits = floats(model.options.precision, rows * vocabulary);
  const run = await runGreedy(model, inputIds, cache, options, (point, value, from) => {
    if (point === 'logits') logits.set(flat(value), from * vocabulary);
    return value;
  });
  return { inputIds, logits, vocabulary, ...run };
}
