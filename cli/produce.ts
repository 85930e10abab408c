/** Continuations of one prompt: feeds it, saves it where that is asked for, and goes on from it, once or several times. */
import type { KvCache } from '../attention/cache/cache.js';
import { addMoved, type Moved } from '../attention/kernel/scratch.js';
import { AttentionCounter } from '../attention/layer.js';
import { eosIdsOf } from '../src/checkpoint/folder.js';
import { saveCache } from '../src/generate/cache-file.js';
import { checkRequest, feed, type GeneratedToken, type GenerateOptions, generate } from '../src/generate/generate.js';
import { createSampler, logProbability } from '../src/generate/sampler.js';
import type { Model } from '../src/model/load.js';
import type { TextTokenizer } from '../src/text/tokenizer.js';
import { pause } from './options.js';
import type { ProgressBar } from './progress.js';
import type { Stopwatch } from './stats.js';
import { type TextFlags, TextOut } from './text-out.js';

/** What a run asks for, of the flags of `generate`. */
export interface Request extends TextFlags, Omit<GenerateOptions, 'counter' | 'pause' | 'eosIds'> {
  readonly folder: string;
  readonly cache: string;
  readonly seed: number;
  readonly continuations: number;
  readonly saveCache?: string;
  readonly logprobs?: true;
  /** Of the prompt; it is gone when the first token comes. */
  readonly bar: ProgressBar;
}

export interface Continuation {
  readonly text: string;
  readonly newIds: number[];
  readonly finish: 'length' | 'eos' | 'stop';
  readonly logprobs: number[] | undefined;
}

/** Generates every continuation, each from a fork of one cache, and unless --json or --no-stream say otherwise prints text as it comes. */
export async function produce(
  model: Model,
  tokenizer: TextTokenizer | null,
  ids: number[],
  cache: KvCache,
  flags: Request,
  watch: Stopwatch,
) {
  const counter = new AttentionCounter();
  const moved = new MovedByPhase(counter);
  // Chunks give Ctrl-C its chance; without a cache each would compute all before it again.
  const prefillChunk = flags.prefillChunk ?? (flags.cache === 'none' ? undefined : 64);
  const { bar } = flags;
  const lap = (phase: 'prefill' | 'decode') => {
    bar.end();
    watch.lap(phase);
    moved.lap(phase);
  };
  const options = { ...flags, eosIds: eosIdsOf(flags.folder), prefillChunk, pause, counter, progress: bar.update };
  const forked = flags.continuations > 1 && flags.cache !== 'none';
  const fedWhole = flags.saveCache !== undefined || forked;
  checkRequest(model, ids, flags.maxNewTokens, { fedWhole, forked }); // before anything is fed or printed
  createSampler(options);
  if (fedWhole) {
    await feed(model, ids, cache, { from: cache.next, chunk: prefillChunk, pause, counter, progress: bar.update });
    lap('prefill');
    if (flags.saveCache !== undefined) save(flags.saveCache, cache, model, flags.maxNewTokens === 0);
    cache.rollback(ids.length - 1);
  }
  const continuations: Continuation[] = [];
  let bytes = { used: 0, allocated: 0 };
  for (let i = 0; i < flags.continuations; i++) {
    const own = i + 1 < flags.continuations ? cache.fork() : cache;
    const seed = flags.seed + i;
    if (flags.continuations > 1 && !flags.json) {
      process.stdout.write(`--- ${i + 1} of ${flags.continuations}, seed ${seed}\n`);
    }
    const text = new TextOut(tokenizer, ids, flags);
    continuations.push(await continuation(generate(model, ids, own, { ...options, seed }), text, options, lap));
    bytes = model.components.caches.bytes(own === cache ? [cache] : [cache, own]);
    if (own !== cache) own.release();
  }
  const newTokens = continuations.map(({ newIds }) => newIds.length);
  return {
    continuations,
    newTokens,
    counter,
    layers: model.config.layers.length,
    bytes,
    moved: moved.bytes,
    device: (await model.components.kernel.device?.()) ?? null,
  };
}

function save(file: string, cache: KvCache, model: Model, told: boolean): void {
  saveCache(file, cache, model);
  if (told) process.stderr.write(`${file}: ${cache.next} tokens saved\n`);
}

/** Bytes that a device and the host have exchanged, by phase. */
class MovedByPhase {
  readonly bytes: Record<'prefill' | 'decode', Moved>;
  private last: Moved;
  private readonly counter: AttentionCounter;

  constructor(counter: AttentionCounter) {
    this.counter = counter;
    this.last = counter.scratch.moved;
    this.bytes = { prefill: this.last, decode: this.last };
  }

  /** What has moved since the last lap belongs to this phase. */
  lap(phase: 'prefill' | 'decode'): void {
    const now = this.counter.scratch.moved;
    this.bytes[phase] = addMoved(this.bytes[phase], this.last, now);
    this.last = now;
  }
}

async function continuation(
  tokens: AsyncIterable<GeneratedToken>,
  text: TextOut,
  { logprobs: wanted, eosIds }: { logprobs?: true; eosIds: readonly number[] },
  lap: (phase: 'prefill' | 'decode') => void,
): Promise<Continuation> {
  const newIds: number[] = [];
  const logprobs: number[] | undefined = wanted && [];
  try {
    for await (const { id, logits_N } of tokens) {
      lap(newIds.length === 0 ? 'prefill' : 'decode');
      newIds.push(id);
      logprobs?.push(logProbability(logits_N, id));
      if (text.push(id)) break;
    }
  } catch (error) {
    text.endLine();
    throw error;
  }
  const finish = text.end() ? 'stop' : eosIds.includes(newIds.at(-1)!) ? 'eos' : 'length';
  return { text: text.whole, newIds, finish, logprobs };
}
