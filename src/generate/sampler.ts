/**
 * Logits -> the next token. Greedy at temperature 0; otherwise the steps below, in the order and with the meaning that Hugging
 * Face's generation gives them: repetition penalty, temperature, top-k, top-p, min-p, then one draw.
 *
 * Draws come from the Mersenne Twister MT19937 (Matsumoto & Nishimura 1998) seeded with `init_genrand`, two outputs making one
 * number of 53 bits: the stream of `numpy.random.RandomState(seed).random_sample()`. A draw u takes the first token, in order
 * of id, at which the running sum of probabilities exceeds u times their sum. All of it is float64 arithmetic on the logits,
 * so a seed gives the same text on every machine whose Node has the same exp.
 */
import { mersenne } from 'pure-rand/generator/mersenne';
import { RequestError, UsageError } from '../errors.js';
import type { Floats } from '../tensor/tensor.js';

export interface SamplerOptions {
  /** 0 is greedy. */
  readonly temperature?: number;
  /** Keep the k most likely tokens (and those that tie with the last of them); 0 keeps all. */
  readonly topK?: number;
  /** Keep the fewest most likely tokens whose probabilities sum to at least this (Holtzman et al. 2019); 1 keeps all. */
  readonly topP?: number;
  /** Keep tokens at least this many times as likely as the most likely one (Nguyen et al. 2024); 0 keeps all. */
  readonly minP?: number;
  /** Divides positive and multiplies negative logits of tokens that have occurred (Keskar et al. 2019); 1 is off. */
  readonly repetitionPenalty?: number;
  /** An unsigned 32-bit number. */
  readonly seed?: number;
}

/** A sampler holds the state of its random numbers: one for each sequence. */
export type Sampler = (logits_N: Floats, history: readonly number[]) => number;

/** @throws UsageError for a value that has no meaning. */
export function createSampler(options: SamplerOptions = {}): Sampler {
  checkOptions(options);
  const { temperature = 0, repetitionPenalty = 1, seed = 0 } = options;
  const random = uniform(seed);
  return (logits_N, history) => {
    if (temperature === 0) return argmax(penalised(logits_N, history, repetitionPenalty));
    return draw(probabilitiesOf(logits_N, history, options), random());
  };
}

/** The probabilities that are drawn from [N], after every step; tokens that were cut have 0. `history` is penalised. */
export function probabilitiesOf(logits_N: Floats, history: readonly number[], options: SamplerOptions): Float64Array {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = options;
  let p = softmax(penalised(logits_N, history, repetitionPenalty).map((score) => score / temperature));
  if (topK > 0 && topK < p.length) p = keepAtLeast(p, [...p].sort((a, b) => b - a)[topK - 1]!);
  if (topP < 1) p = keepNucleus(p, topP);
  if (minP > 0) p = keepAtLeast(p, minP * p.reduce((a, b) => Math.max(a, b)));
  return p;
}

/** The place of the largest value; the first one where some are equal. @throws RequestError if a value is NaN. */
export function argmax(values: Floats): number {
  if (values.some(Number.isNaN)) {
    throw new RequestError('There are logits that are NaN; `touchstone inspect` names weights that are.');
  }
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** log softmax(logits)[id], in float64. */
export function logProbability(logits_N: Floats, id: number): number {
  return logSoftmax(logits_N)[id]!;
}

/** In float64. */
export function logSoftmax(logits_N: Floats): Float64Array {
  const greatest = logits_N[argmax(logits_N)]!;
  let sum = 0;
  for (const logit of logits_N) sum += Math.exp(logit - greatest);
  return Float64Array.from(logits_N, (logit) => logit - greatest - Math.log(sum));
}

/** The difference between the largest and the second largest logit: how close a greedy choice was. */
export function marginOf(logits_N: Floats): number {
  const best = argmax(logits_N);
  let second = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits_N.length; i++) if (i !== best) second = Math.max(second, logits_N[i]!);
  return logits_N[best]! - second;
}

function penalised(logits_N: Floats, history: readonly number[], penalty: number): Float64Array {
  const scores = Float64Array.from(logits_N);
  if (penalty === 1) return scores;
  for (const id of new Set(history)) scores[id] = scores[id]! < 0 ? scores[id]! * penalty : scores[id]! / penalty;
  return scores;
}

function softmax(scores: Float64Array): Float64Array {
  const greatest = scores[argmax(scores)]!;
  return normalised(scores.map((score) => Math.exp(score - greatest)));
}

function keepAtLeast(p: Float64Array, threshold: number): Float64Array {
  return normalised(p.map((value) => (value >= threshold ? value : 0)));
}

/** From the least likely on, tokens are cut as long as the sum of what is cut stays within 1 - topP. */
function keepNucleus(p: Float64Array, topP: number): Float64Array {
  const rising = Array.from(p.keys()).sort((a, b) => p[a]! - p[b]! || a - b);
  const kept = p.slice();
  let cut = 0;
  for (const id of rising.slice(0, -1)) {
    cut += p[id]!;
    if (cut > 1 - topP) break;
    kept[id] = 0;
  }
  return normalised(kept);
}

function normalised(weights: Float64Array): Float64Array {
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

function draw(p: Float64Array, u: number): number {
  const target = u * p.reduce((a, b) => a + b, 0);
  let running = 0;
  let last = 0;
  for (let id = 0; id < p.length; id++) {
    if (p[id] === 0) continue;
    running += p[id]!;
    last = id;
    if (running > target) break;
  }
  return last;
}

/** Numbers in [0, 1) with 53 random bits: (27 upper bits, 26 upper bits) of two outputs, as `genrand_res53` makes them. */
export function uniform(seed: number): () => number {
  const generator = mersenne(seed);
  return () => {
    const high = generator.next() >>> 5;
    const low = generator.next() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  };
}

type Range = readonly [flag: string, valid: (x: number) => boolean, expected: string];

const RANGES: Record<keyof SamplerOptions, Range> = {
  temperature: ['--temperature', (x) => x >= 0 && x < Number.POSITIVE_INFINITY, 'a number of at least 0 (0 is greedy)'],
  topK: ['--top-k', (x) => Number.isInteger(x) && x >= 0, 'a whole number of at least 0 (0 keeps all tokens)'],
  topP: ['--top-p', (x) => x > 0 && x <= 1, 'a number above 0 and at most 1'],
  minP: ['--min-p', (x) => x >= 0 && x <= 1, 'a number from 0 to 1'],
  repetitionPenalty: [
    '--repetition-penalty',
    (x) => x > 0 && x < Number.POSITIVE_INFINITY,
    'a number above 0 (1 is off)',
  ],
  seed: ['--seed', (x) => Number.isInteger(x) && x >= 0 && x < 2 ** 32, 'a whole number from 0 to 4294967295'],
};

function checkOptions(options: SamplerOptions): void {
  for (const [name, [flag, valid, expected]] of Object.entries(RANGES)) {
    const value = options[name as keyof SamplerOptions];
    if (value !== undefined && !valid(value))
      throw new UsageError(`${name} (${flag}): expected ${expected}, got ${value}.`);
  }
}
