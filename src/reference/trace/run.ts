/** Runs a prompt and its greedy continuation, and shows what each pass computes. */
import type { KvCache } from '../../../attention/cache/cache.js';
import { RequestError } from '../../errors.js';
import { checkRequest, feed } from '../../generate/generate.js';
import { argmax, marginOf } from '../../generate/sampler.js';
import type { Model } from '../../model/load.js';
import { asFloat32 } from '../../tensor/emulated.js';
import type { Tap } from '../../tensor/tap.js';
import { type Floats, flat, floatsLike, rowsOf, type Tensor } from '../../tensor/tensor.js';

export interface RunOptions {
  /** Greedy tokens after the prompt. */
  readonly steps?: number | undefined;
  readonly prefillChunk?: number | undefined;
  /** Awaited after each layer. */
  readonly pause?: (() => Promise<void>) | undefined;
  /** Told how many tokens, of the prompt and its continuation, have their logits. */
  readonly progress?: ((done: number, of: number) => void) | undefined;
}

/** Says with which value a pass goes on that made this one, its first row that of the token at position `from`. */
export type Splice = (point: string, value: Tensor, from: number) => Tensor;

/** A greedy run: the tokens that were chosen, and the margin at each. */
export interface GreedyRun {
  readonly generatedIds: readonly number[];
  /** [steps] top-1 minus top-2 logit where each token was chosen. */
  readonly margins: Floats;
}

/**
 * Feeds a prompt, then each token as it is chosen.
 * @param cache an empty cache of this model
 * @param see is shown each point of each pass, whose first row is the token at position `from`, and says what the pass goes on with
 * @throws RequestError if the cache is not empty, the request does not fit the model, or logits are NaN
 */
export async function runGreedy(
  model: Model,
  inputIds: readonly number[],
  cache: KvCache,
  { steps = 0, prefillChunk = inputIds.length, pause, progress }: RunOptions,
  see: Splice,
): Promise<GreedyRun> {
  checkRequest(model, inputIds, steps, { fedWhole: steps === 0 });
  if (cache.next !== 0)
    throw new RequestError(`A golden needs an empty cache; this one goes on at position ${cache.next}.`);
  const ids = [...inputIds];
  const total = ids.length + Math.max(steps - 1, 0);
  let margins: Floats | null = null;
  for (let step = 0, from = 0; step < Math.max(steps, 1); step++) {
    let last: Tensor | null = null;
    for (; from < ids.length; from = Math.min(from + prefillChunk, ids.length)) {
      const fed = ids.slice(0, Math.min(from + prefillChunk, ids.length));
      const first = cache.next;
      const tap: Tap = (point, value) => see(point, value, first);
      last = await feed(model, fed, cache, { from, logits: 'all', pause, tap });
      progress?.(fed.length, total);
    }
    const rows = last!.shape[0]!;
    const last_N = flat(rowsOf(last!, rows - 1, rows));
    margins ??= floatsLike(asFloat32(last_N), steps); // a difference of two 16-bit numbers is none
    const next = argmax(last_N);
    if (step === steps) break; // no continuation was asked for
    margins[step] = marginOf(last_N);
    ids.push(next);
  }
  return { generatedIds: ids.slice(inputIds.length), margins: margins! };
}
