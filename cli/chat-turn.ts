/** One turn of a chat: feeds what is new of the conversation, and prints the reply as it comes. */
import { AttentionCounter } from '../attention/layer.js';
import { RequestError } from '../src/errors.js';
import type { Conversation } from '../src/generate/conversation.js';
import { type GenerateOptions, generate, longestText } from '../src/generate/generate.js';
import type { Model } from '../src/model/load.js';
import type { TextTokenizer } from '../src/text/tokenizer.js';
import { Interrupted } from './interrupted.js';
import { pause } from './options.js';
import { progressBar } from './progress.js';
import { round, Stopwatch, speedText } from './stats.js';
import { type TextFlags, TextOut } from './text-out.js';

export interface ChatSettings
  extends TextFlags,
    Omit<GenerateOptions, 'maxNewTokens' | 'counter' | 'pause' | 'progress'> {
  /** Undefined: 512. Never more than the context still holds. */
  readonly maxNewTokens: number | undefined;
  readonly temperature: number;
  readonly seed: number;
  readonly eosIds: readonly number[];
  readonly stats?: true;
}

/** Rows are counted in each layer, and averaged over layers. */
interface TurnStats {
  readonly turn: number;
  readonly prompt_tokens: number;
  /** Of the prompt: found in the cache. */
  readonly reused_tokens: number;
  readonly new_tokens: number;
  readonly prefill_ms: number;
  readonly decode_ms: number;
  /** Tokens whose keys and values this turn computed. */
  readonly kv_rows_computed: number;
  /** By all turns so far. */
  readonly kv_rows_computed_in_all: number;
  readonly kv_bytes_used: number;
}

type Finish = 'length' | 'eos' | 'stop' | 'interrupted';

interface Reply {
  readonly newIds: number[];
  readonly finish: Finish;
}

export class Chat {
  readonly conversation: Conversation;
  readonly settings: ChatSettings;
  private readonly model: Model;
  private readonly tokenizer: TextTokenizer;
  private readonly counter = new AttentionCounter();
  private turns = 0;

  constructor(model: Model, tokenizer: TextTokenizer, conversation: Conversation, settings: ChatSettings) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.conversation = conversation;
    this.settings = settings;
  }

  /**
   * Answers the conversation. Once `signal` aborts, what has been said is the reply.
   * @returns false if it was interrupted before a word: then there is no reply
   * @throws RequestError if the template refuses the conversation, or the context has no room for a reply
   */
  async answer(signal: AbortSignal): Promise<boolean> {
    const { conversation, settings, counter, model } = this;
    const prompt = conversation.prompt();
    const { text } = conversation;
    const maxNewTokens = Math.min(settings.maxNewTokens ?? 512, this.roomAfter(prompt));
    const [reused, before, seed] = [conversation.cache.next, counter.computed, settings.seed + this.turns];
    const out = new TextOut(this.tokenizer, prompt, settings);
    const clock = new Stopwatch();
    const { newIds, finish } = await this.stream(prompt, { ...settings, maxNewTokens, seed }, out, clock, signal);
    if (newIds.length === 0 && finish === 'interrupted') return false;
    conversation.reply(newIds, out.whole);
    this.turns++;
    const layers = model.config.layers.length;
    const stats: TurnStats = {
      turn: this.turns,
      prompt_tokens: prompt.length,
      reused_tokens: reused,
      new_tokens: newIds.length,
      prefill_ms: round(clock.ms.prefill),
      decode_ms: round(clock.ms.decode),
      kv_rows_computed: (counter.computed - before) / layers,
      kv_rows_computed_in_all: counter.computed / layers,
      kv_bytes_used: model.components.caches.bytes([conversation.cache]).used,
    };
    if (settings.json) {
      const asked = { prompt: text, prompt_ids: prompt };
      const said = { ids: newIds, text: out.whole, finish_reason: finish, seed };
      process.stdout.write(`${JSON.stringify({ ...asked, ...said, stats })}\n`);
    }
    if (settings.stats) process.stderr.write(turnText(stats, finish, settings.temperature > 0 ? seed : null));
    return true;
  }

  /** Tokens that the context still holds. @throws RequestError if it holds none */
  private roomAfter(prompt: readonly number[]): number {
    const room = longestText(this.model) - prompt.length;
    if (room > 0) return room;
    throw new RequestError(
      `The conversation has ${prompt.length} tokens, and the model's context holds ${this.model.config.context}: no room for a reply; say less, or begin a new one.`,
    );
  }

  private async stream(
    prompt: number[],
    options: GenerateOptions,
    out: TextOut,
    clock: Stopwatch,
    signal: AbortSignal,
  ): Promise<Reply> {
    const bar = progressBar('prefill');
    const interruptible = async () => {
      await pause();
      if (signal.aborted) throw new Interrupted();
    };
    const newIds: number[] = [];
    const { counter, conversation } = this;
    const all = { ...options, counter, pause: interruptible, progress: bar.update };
    let interrupted = false;
    try {
      for await (const { id } of generate(this.model, prompt, conversation.cache, all)) {
        bar.end();
        clock.lap(newIds.length === 0 ? 'prefill' : 'decode');
        newIds.push(id);
        if (!options.eosIds!.includes(id) && out.push(id)) break; // the end is not said, special token or not
      }
    } catch (error) {
      out.endLine();
      if (!(error instanceof Interrupted)) throw error;
      clock.lap(newIds.length === 0 ? 'prefill' : 'decode');
      interrupted = true;
    } finally {
      bar.end();
    }
    if (interrupted && newIds.length === 0) return { newIds, finish: 'interrupted' };
    const stopped = out.end();
    const ended = options.eosIds!.includes(newIds.at(-1) ?? -1);
    return { newIds, finish: stopped ? 'stop' : ended ? 'eos' : interrupted ? 'interrupted' : 'length' };
  }
}

/** @param seed null: nothing was drawn */
function turnText(stats: TurnStats, finish: Finish, seed: number | null): string {
  const { turn, prompt_tokens, reused_tokens, new_tokens, prefill_ms, decode_ms } = stats;
  const inAll = `${stats.kv_rows_computed_in_all} in all turns for ${prompt_tokens + new_tokens} tokens`;
  const lines = [
    `turn ${turn}    ${prompt_tokens} tokens before the reply, ${reused_tokens} of them reused; ${new_tokens} new ones (${finish})`,
    `KV rows   ${stats.kv_rows_computed} computed, ${inAll} (a layer); ${stats.kv_bytes_used.toLocaleString('en-US')} bytes`,
    `prefill   ${speedText(prompt_tokens - reused_tokens, prefill_ms)}`,
    `decode    ${speedText(Math.max(new_tokens - 1, 0), decode_ms)}`,
    ...(seed === null ? [] : [`seed      ${seed}`]),
  ];
  return `\n${lines.join('\n')}\n\n`;
}
