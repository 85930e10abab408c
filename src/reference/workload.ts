/**
 * Requests as a chat service gets them, drawn from a seed: how many tokens a prompt and its answer have, and how prompts begin.
 *
 * Lengths are log-normal, with the means of ShareGPT in Kwon et al. 2023 (figure 11): prompts 161.31 tokens, answers 337.99. The spread of the answers
 * follows from their figure 2: of 15,728 tokens, 7 reservations of 2,048 hold 13.3 % for tokens yet to come, 299 each; over a sequence's steps that is
 * E[o^2] / 2 E[o] = E[o] exp(sigma^2) / 2, so sigma = 0.755. (The 20.4 % that hold tokens are then prompts of 160: no correlation.) Of the prompts only the mean is
 * known, and that they vary more; their sigma of 1 is a choice.
 */
import { expectSize, UsageError } from '../errors.js';
import { uniform } from '../generate/sampler.js';

/** Tokens, log-normal: exp of a normal number whose standard deviation is `sigma`. */
interface Lengths {
  readonly mean: number;
  readonly sigma: number;
}

export interface WorkloadOptions {
  /** An unsigned 32-bit number. */
  readonly seed: number;
  readonly requests: number;
  /** The most tokens of a request: a prompt is cut one token before it, an answer at it. */
  readonly maxTokens: number;
  readonly prompt: Lengths;
  readonly output: Lengths;
  readonly vocabulary: number;
  readonly shared: SharedPrefixes;
}

/** System prompts: what some requests begin with, before a prompt of their own. */
export interface SharedPrefixes {
  /** Of the requests, from 0 to 1. */
  readonly share: number;
  /** How many there are, all equally likely. */
  readonly prefixes: number;
  /** Tokens of each. */
  readonly tokens: number;
}

export interface Request {
  /** The prompt, then the answer. The answer's last token is never fed. */
  readonly ids: readonly number[];
  /** Tokens of the prompt. */
  readonly prompt: number;
}

export const SHAREGPT: Pick<WorkloadOptions, 'prompt' | 'output'> = {
  prompt: { mean: 161.31, sigma: 1 },
  output: { mean: 337.99, sigma: 0.755 },
};

export const NOTHING_SHARED: SharedPrefixes = { share: 0, prefixes: 0, tokens: 0 };

/** @throws UsageError for sizes that are none. */
export function drawRequests(options: WorkloadOptions): Request[] {
  const { seed, requests, maxTokens, vocabulary, shared } = options;
  expectSize('requests (--requests)', requests);
  if (maxTokens < 2) throw new UsageError(`maxTokens (--max-tokens): expected at least 2 tokens, got ${maxTokens}.`);
  const random = uniform(seed);
  const tokens = (count: number) => Array.from({ length: count }, () => Math.floor(random() * vocabulary));
  const prefixes = Array.from({ length: shared.prefixes }, () => tokens(shared.tokens));
  return Array.from({ length: requests }, () => {
    const [own, answer] = [lengthOf(options.prompt, random), lengthOf(options.output, random)];
    const begins = random() < shared.share ? prefixes[Math.floor(random() * prefixes.length)]! : [];
    const prompt = [...begins, ...tokens(own)].slice(0, maxTokens - 1);
    return { ids: [...prompt, ...tokens(answer)].slice(0, maxTokens), prompt: prompt.length };
  });
}

/** At least one token. The normal number is made of two uniform ones (Box & Muller 1958). */
function lengthOf({ mean, sigma }: Lengths, random: () => number): number {
  const [radius, angle] = [Math.sqrt(-2 * Math.log(1 - random())), 2 * Math.PI * random()];
  const mu = Math.log(mean) - sigma ** 2 / 2;
  return Math.max(1, Math.round(Math.exp(mu + sigma * radius * Math.cos(angle))));
}
