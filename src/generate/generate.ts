/** The generation loop: feed what the cache does not hold, choose a token, go on. */

import type { KvCache } from '../../attention/cache/cache.js';
import { wholeBlocks } from '../../attention/cache/residual.js';
import type { AttentionCounter } from '../../attention/layer.js';
import { expectSize, RequestError, UsageError } from '../errors.js';
import type { ModelConfig } from '../model/config.js';
import { expectIds } from '../model/embedding.js';
import type { Model } from '../model/load.js';
import { forward } from '../model/transformer.js';
import type { Tap } from '../tensor/tap.js';
import { type Floats, flat, rowsOf, type Tensor, zerosLike } from '../tensor/tensor.js';
import { createSampler, type Sampler, type SamplerOptions } from './sampler.js';

export interface GenerateOptions extends SamplerOptions {
  readonly maxNewTokens: number;
  /** Generation ends with the first of these tokens. */
  readonly eosIds?: readonly number[];
  /** Feed the prompt this many tokens at a time; the logits are the same to the bit. All at once by default. */
  readonly prefillChunk?: number | undefined;
  readonly counter?: AttentionCounter;
  /** Awaited after each layer (`ForwardOptions`). */
  readonly pause?: () => Promise<void>;
  /** Told after each chunk how many of the prompt's tokens are fed. */
  readonly progress?: (fed: number, of: number) => void;
}

export interface GeneratedToken {
  readonly id: number;
  /** The logits that it was chosen from [N]. */
  readonly logits_N: Floats;
}

/**
 * Generates tokens after a prompt, one at a time; the last one may be an end-of-sequence token.
 * @param cache an empty cache of this model, or one that holds a beginning of `prompt`; one that shares rows between sequences takes
 * over what it knows of the prompt
 * @throws RequestError, UsageError at once for a request that cannot be served (`checkRequest`, `createSampler`)
 */
export function generate(
  model: Model,
  prompt: readonly number[],
  cache: KvCache,
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken> {
  checkRequest(model, prompt, options.maxNewTokens);
  expectBeginning(cache, prompt);
  return continuation(model, prompt, cache, createSampler(options), options);
}

async function* continuation(
  model: Model,
  prompt: readonly number[],
  cache: KvCache,
  sampler: Sampler,
  { maxNewTokens, prefillChunk, eosIds, counter, pause, progress }: GenerateOptions,
): AsyncGenerator<GeneratedToken> {
  const ids = [...prompt];
  if (cache.next === 0) cache.adopt(prompt.slice(0, -1)); // the last one is fed: its logits are asked for
  for (let made = 0; made < maxNewTokens; made++) {
    const fresh = made === 0 ? { from: 0, chunk: prefillChunk, progress } : { from: ids.length - 1 };
    const logits_N = flat(await feed(model, ids, cache, { ...fresh, counter, pause }));
    const id = sampler(logits_N, ids);
    ids.push(id);
    yield { id, logits_N };
    if (eosIds?.includes(id)) return;
  }
}

export interface FeedOptions {
  /** Tokens before this one have been fed before; whether they must be fed again is the cache's to say. */
  readonly from: number;
  readonly chunk?: number | undefined;
  readonly logits?: 'last' | 'all';
  readonly counter?: AttentionCounter | undefined;
  readonly pause?: (() => Promise<void>) | undefined;
  readonly progress?: ((fed: number, of: number) => void) | undefined;
  /** Of each pass (`ForwardOptions`). */
  readonly tap?: Tap | undefined;
}

/**
 * Feeds ids[from ..] in chunks, each time from where the cache goes on: a cache that keeps nothing is fed the whole sequence
 * again. @returns logits of the last token [1, N], or with `logits: 'all'` of each token from `from` on.
 */
export async function feed(
  model: Model,
  ids: readonly number[],
  cache: KvCache,
  options: FeedOptions,
): Promise<Tensor> {
  const { from, chunk = ids.length, logits = 'last', counter, pause, progress, tap } = options;
  expectSize('prefillChunk (--prefill-chunk)', chunk);
  if (cache.next >= ids.length) {
    throw new RequestError(
      `The cache goes on at position ${cache.next}, and there are only ${ids.length} tokens; nothing is left to feed.`,
    );
  }
  if (logits === 'all' && cache.next > from) {
    throw new RequestError(`The logits from token ${from} on are asked for, and the cache goes on at ${cache.next}.`);
  }
  const chunks: Tensor[] = [];
  for (let start = Math.max(from, cache.next); start < ids.length; start += chunk) {
    const end = Math.min(start + chunk, ids.length);
    const fresh = { ids: ids.slice(cache.next, end), cache };
    const rows = await forward(model, [fresh], { logits, counter, pause, tap });
    progress?.(end, ids.length);
    const total = rows.shape[0]!;
    chunks.push(logits === 'all' ? rowsOf(rows, total - (end - start), total) : rows);
  }
  return logits === 'all' ? stacked(chunks) : chunks.at(-1)!;
}

function stacked(parts: readonly Tensor[]): Tensor {
  if (parts.length === 1) return parts[0]!;
  const [first, width] = [parts[0]!, parts[0]!.shape[1]!];
  const rows = parts.reduce((sum, part) => sum + part.shape[0]!, 0);
  const whole = zerosLike(first, [rows, width]);
  let row = 0;
  for (const part of parts) {
    whole.data.set(flat(part), row * width);
    row += part.shape[0]!;
  }
  return whole;
}

/** What is done with the cache between the prompt and what follows it. */
interface PromptUse {
  /** All of the prompt is fed first, its last token too; that one is forgotten and fed again. */
  readonly fedWhole?: boolean;
  /** Another sequence keeps the prompt's rows meanwhile. */
  readonly forked?: boolean;
}

/** @throws UsageError, RequestError before anything is computed */
export function checkRequest(model: Model, prompt: readonly number[], newTokens: number, use: PromptUse = {}): void {
  if (!Number.isInteger(newTokens) || newTokens < 0) {
    throw new UsageError(`New tokens: expected a whole number of at least 0, got ${newTokens}.`);
  }
  if (prompt.length === 0) throw new RequestError('The prompt has no tokens; give at least one.');
  expectIds(prompt, model.config.vocabulary);
  const [total, most] = [prompt.length + newTokens, longestText(model)];
  if (total > most) {
    const room = most - prompt.length;
    throw new RequestError(
      `The prompt's ${prompt.length} tokens and ${newTokens} new ones exceed the model's context of ${most}; ` +
        `${room > 0 ? `ask for at most ${room} new tokens` : 'shorten the prompt'}${wayOn(model.config)}.`,
    );
  }
  expectRoom(model, prompt.length, newTokens, use);
}

/**
 * A prompt's last page is copied where its last token is fed again and someone else holds the page: a fork, or the index that learned it whole, which
 * then gives its own for the copy as soon as the two are alike.
 * @throws RequestError if the largest cache of this model is too small
 */
function expectRoom(
  { components: { caches, format } }: Model,
  prompt: number,
  newTokens: number,
  { fedWhole = false, forked = false }: PromptUse,
): void {
  const { capacity, pool, index } = caches;
  const fed = newTokens > 0 ? prompt + newTokens - 1 : 0; // the last token is not fed
  const page = pool?.pageSize ?? 1;
  const { residual } = format; // rows enter pages in whole blocks of it, one token late
  const inPages = (length: number) => (residual > 0 ? wholeBlocks(length - 1, residual) : length);
  const rows = Math.max(fed, fedWhole ? prompt : 0);
  const held = residual > 0 ? inPages(prompt) : prompt - 1;
  const learned = residual === 0 && index !== null && fedWhole && prompt % page === 0;
  const copied = newTokens > 0 && (learned || forked) && held % page > 0 && inPages(rows) > held;
  const twice = learned ? prompt + page : inPages(rows) + residual + page;
  const needed = copied ? Math.max(rows, twice) : rows;
  if (needed <= capacity) return;
  throw new RequestError(
    `The prompt's ${prompt} tokens and ${newTokens} new ones need a cache of ${needed}` +
      `${copied ? ' (one page of the prompt is needed twice)' : ''}, and this one holds ${capacity} at most; ` +
      'raise --cache-tokens (cacheTokens) or --pool-pages (poolPages).',
  );
}

/** How a longer text may be had; empty: positions are learned, and there are no more. */
function wayOn({ embedding, ropeLength }: ModelConfig): string {
  if (embedding.positions) return '';
  if (ropeLength !== null) return ', or load it with a rope for more, if it can have one (--rope-length, ropeLength)';
  return ', or let it see a window (visibility sliding, chunked, sinks)';
}

/** The most tokens that a sequence can have: the context; without end where no token sees more than that many, and positions have none. */
export function longestText({ config, components }: Model): number {
  const bounded = config.embedding.positions || config.ropeLength !== null;
  if (bounded && components.chosen.positions === 'absolute') return config.context;
  const sees = components.layers.map(({ visibility }) => visibility.sinks + visibility.span);
  return Math.max(...sees) <= config.context ? Number.POSITIVE_INFINITY : config.context;
}

/** @throws RequestError if a cache holds other tokens than a prompt begins with. */
function expectBeginning(cache: KvCache, prompt: readonly number[]): void {
  const common = commonBeginning(cache.ids, prompt);
  if (common < cache.next) {
    throw new RequestError(
      `The cache holds ${cache.next} tokens, and the prompt goes another way from token ${common} on; roll it back to there, or use another.`,
    );
  }
}

/** How many tokens two sequences have in common from the beginning on. */
export function commonBeginning(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let common = 0;
  while (common < Math.min(a.length, b.length) && a[common] === b[common]) common++;
  return common;
}
