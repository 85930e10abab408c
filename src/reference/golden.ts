/** Goldens: what a model answers to given tokens, in a file that any implementation can be held against. */
import type { KvCache } from '../../attention/cache/cache.js';
import { hashesOf } from '../checkpoint/folder.js';
import { type TensorToWrite, writeSafetensors } from '../checkpoint/safetensors/write.js';
import { RequestError } from '../errors.js';
import { checkRequest, feed } from '../generate/generate.js';
import { argmax, marginOf } from '../generate/sampler.js';
import { describeRun } from '../model/describe.js';
import type { Model } from '../model/load.js';
import {
  type Bfloat16Floats,
  EMULATED_DTYPES,
  emulatedWords,
  emulationOf,
  type Float16Floats,
} from '../tensor/emulated.js';
import { type Floats, flat, floats, isEmulated } from '../tensor/tensor.js';
import { VERSION } from '../version.js';

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

export interface GoldenOptions {
  /** Greedy tokens after the prompt. */
  readonly steps: number;
  readonly prefillChunk?: number | undefined;
  /** Awaited after each layer. */
  readonly pause?: () => Promise<void>;
  /** Told how many tokens, of the prompt and its continuation, have their logits. */
  readonly progress?: (done: number, of: number) => void;
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
  { steps, prefillChunk: chunk, pause, progress }: GoldenOptions,
): Promise<Golden> {
  checkRequest(model, inputIds, steps, { fedWhole: steps === 0 });
  if (cache.next !== 0)
    throw new RequestError(`A golden needs an empty cache; this one goes on at position ${cache.next}.`);
  const vocabulary = model.config.vocabulary;
  const { precision } = model.options;
  const logits = floats(precision, (inputIds.length + Math.max(steps - 1, 0)) * vocabulary);
  const margins = floats(isEmulated(precision) ? 'float32' : precision, steps); // a difference of two 16-bit numbers is none
  const ids = [...inputIds];
  const total = logits.length / vocabulary;
  const told = (fed: number) => progress?.(fed, total);
  for (let step = 0, from = 0; step < Math.max(steps, 1); step++) {
    logits.set(
      flat(await feed(model, ids, cache, { from, chunk, logits: 'all', pause, progress: told })),
      from * vocabulary,
    );
    from = ids.length;
    const last_N = logits.subarray((from - 1) * vocabulary, from * vocabulary);
    const next = argmax(last_N);
    if (step === steps) break; // no continuation was asked for
    margins[step] = marginOf(last_N);
    ids.push(next);
  }
  return { inputIds, logits, vocabulary, generatedIds: ids.slice(inputIds.length), margins };
}

/** Writes a golden with its provenance: version, options, and the hashes of the weights. */
export function writeGolden(path: string, golden: Golden, model: Model): void {
  const { inputIds, logits, vocabulary, generatedIds, margins } = golden;
  writeSafetensors(
    path,
    [
      { name: 'input_ids', dtype: 'I64', shape: [inputIds.length], data: int64(inputIds) },
      { name: 'logits', ...stored(logits), shape: [logits.length / vocabulary, vocabulary] },
      { name: 'generated_ids', dtype: 'I64', shape: [generatedIds.length], data: int64(generatedIds) },
      { name: 'margins', ...stored(margins), shape: [margins.length] },
    ],
    {
      format: 'touchstone-golden-1',
      touchstone: VERSION,
      family: model.config.family,
      options: JSON.stringify(describeRun(model)),
      sha256: JSON.stringify(hashesOf(model.files)),
    },
  );
}

/** Numbers in the dtype that they are of, or emulate. */
function stored(data: Floats): Pick<TensorToWrite, 'dtype' | 'data'> {
  const emulates = emulationOf(data);
  if (emulates)
    return { dtype: EMULATED_DTYPES[emulates], data: emulatedWords(data as Bfloat16Floats | Float16Floats) };
  return { dtype: data instanceof Float64Array ? 'F64' : 'F32', data };
}

function int64(ids: readonly number[]): BigInt64Array {
  return BigInt64Array.from(ids, BigInt);
}
