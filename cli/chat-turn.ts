/** One turn of a chat: feeds what is new of the conversation, and prints the reply as it comes. */
import { setImmediate } from 'node:timers/promises';
import { AttentionCounter } from '../attention/layer.js';
import { RequestError } from '../src/errors.js';
import type { Conversation } from '../src/generate/conversation.js';
import { type GenerateOptions, generate, longestText } from '../src/generate/generate.js';
import type { Model } from '../src/model/load.js';
import type { TextTokenizer } from '../src/text/tokenizer.js';
import { Interrupted } from './interrupted.js';
import { progressBar } from './progress.js';
import { round, Stopwatch } from './stats.js';
import { type TextFlags, TextOut } from './text-out.js';

export interface ChatSettings
  extends TextFlags,
    Omit<GenerateOptions, 'maxNewTokens' | 'counter' | 'pause' | 'progress'> {
  readonly maxNewTokens?: number;
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
  readonly seed: number;
}

type Finish = 'length' | 'eos' | 'stop' | 'interrupted';

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
   * Answers the conversation, whose last message is the user's. Once `signal` aborts, what has been said is the reply.
   * @throws RequestError if the template refuses the conversation, or the context has no room for a reply
   */
  async answer(signal: AbortSignal): Promise<void> {
    const { conversation, settings, counter } = this;
    const prompt = conversation.prompt();
    const room = longestText(this.model) - prompt.length;
    if (room < 1) {
      throw new RequestError(
        `The conversation has ${prompt.length} tokens, and the model's context holds ${this.model.config.context}: no room for a reply; begin a new one.`,
      );
    }
    const maxNewTokens = Math.min(settings.maxNewTokens ?? 512, room);
    const [reused, before, seed] = [conversation.cache.next, counter.computed, settings.seed + this.turns];
    const out = new TextOut(this.tokenizer, prompt, settings);
    const clock = new Stopwatch();
    const { newIds, finish } = await this.stream(prompt, { ...settings, maxNewTokens, seed }, out, clock, signal);
    if (newIds.length === 0 && finish === 'interrupted')
      conversation.messages.pop(); // as if it had not been asked
    else conversation.reply(newIds, out.whole);
    this.turns++;
    const layers = this.model.config.layers.length;
    this.tell(newIds, out.whole, finish, {
      turn: this.turns,
      prompt_tokens: prompt.length,
      reused_tokens: reused,
      new_tokens: newIds.length,
      prefill_ms: round(clock.ms.prefill),
      decode_ms: round(clock.ms.decode),
      kv_rows_computed: (counter.computed - before) / layers,
      kv_rows_computed_in_all: counter.computed / layers,
      kv_bytes_used: this.model.components.caches.bytes([conversation.cache]).used,
      seed,
    });
  }

  private async stream(
    prompt: number[],
    options: GenerateOptions,
    out: TextOut,
    clock: Stopwatch,
    signal: AbortSignal,
  ) {
    const bar = progressBar('prefill');
    const pause = async () => {
      await setImmediate();
      if (signal.aborted) throw new Interrupted();
    };
    const newIds: number[] = [];
    const { counter } = this;
    try {
      const tokens = generate(this.model, prompt, this.conversation.cache, {
        ...options,
        counter,
        pause,
        progress: bar.update,
      });
      for await (const { id } of tokens) {
        bar.end();
        clock.lap(newIds.length === 0 ? 'prefill' : 'decode');
        newIds.push(id);
        if (out.push(id)) break;
      }
    } catch (error) {
      bar.end();
      out.endLine();
      if (!(error instanceof Interrupted)) throw error;
    }
    const stopped = out.end();
    const ended = options.eosIds!.includes(newIds.at(-1) ?? -1);
    const finish: Finish = signal.aborted ? 'interrupted' : stopped ? 'stop' : ended ? 'eos' : 'length';
    return { newIds, finish };
  }

  private tell(ids: readonly number[], content: string, finish: Finish, stats: TurnStats): void {
    const { json, stats: wanted } = this.settings;
    if (json)
      process.stdout.write(`${JSON.stringify({ role: 'assistant', content, ids, finish_reason: finish, stats })}\n`);
    if (!wanted) return;
    const { turn, prompt_tokens, reused_tokens, new_tokens, prefill_ms, decode_ms } = stats;
    const inAll = `${stats.kv_rows_computed_in_all} in all turns for ${prompt_tokens + new_tokens} tokens`;
    process.stderr.write(
      `\nturn ${turn}    ${prompt_tokens} tokens before the reply, ${reused_tokens} of them reused; ${new_tokens} new ones (${finish})\n` +
        `KV rows   ${stats.kv_rows_computed} computed, ${inAll} (a layer); ${stats.kv_bytes_used.toLocaleString('en-US')} bytes\n` +
        `time      prefill ${prefill_ms} ms, decode ${decode_ms} ms\n\n`,
    );
  }
}
