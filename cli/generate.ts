import type { Command } from 'commander';
import { AttentionCounter } from '../attention/layer.js';
import { eosIdsOf } from '../src/checkpoint/folder.js';
import { TouchstoneError, UsageError } from '../src/errors.js';
import { generate } from '../src/generate/generate.js';
import { logProbability } from '../src/generate/sampler.js';
import type { Model } from '../src/model/load.js';
import { detokenizer, stopFilter, type TextStream } from '../src/text/stream.js';
import type { TextTokenizer } from '../src/text/tokenizer.js';
import {
  collected,
  decimal,
  encodePrompt,
  idList,
  load,
  modelOption,
  newCommand,
  pause,
  type RunFlags,
  readTextFile,
  runOptions,
  wholeNumber,
} from './options.js';
import { Stopwatch, statsOf, statsText } from './stats.js';

interface Flags extends RunFlags {
  readonly model: string;
  readonly promptFile?: string;
  readonly ids?: number[];
  readonly maxNewTokens?: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly seed?: number;
  readonly stop?: string[];
  readonly echo?: true;
  readonly json?: true;
  readonly logprobs?: true;
  readonly stream: boolean;
  readonly stats?: true;
}

export function generateCommand(): Command {
  const command = newCommand('generate')
    .description('continue a prompt, streaming the text as it comes')
    .argument('[prompt]', 'text to continue; standard input if neither it, --prompt-file nor --ids is given')
    .addOption(modelOption())
    .option('--prompt-file <file>', 'read the prompt from a file (one line break at its end is dropped)')
    .option('--ids <ids>', 'prompt as token ids: 1,2,3', idList)
    .option(
      '-n, --max-new-tokens <n>',
      'tokens to generate (default: 128, or what the context still holds)',
      wholeNumber(0),
    )
    .option('--temperature <t>', '0 is greedy', decimal, 0)
    .option('--top-k <k>', 'sample from the k most likely tokens (0: all)', wholeNumber(0), 0)
    .option('--top-p <p>', 'sample from the fewest tokens with this much probability together', decimal, 1)
    .option('--min-p <p>', 'sample from tokens at least p times as likely as the likeliest', decimal, 0)
    .option('--repetition-penalty <x>', 'make tokens that occurred less likely (1: off)', decimal, 1)
    .option(
      '--seed <n>',
      'seed of the sampler, Mersenne Twister MT19937 (default: a new one, said by --stats and --json)',
      wholeNumber(0),
    )
    .option('--stop <text>', 'end before this text; may be given several times', collected)
    .option('--echo', 'print the prompt before its continuation')
    .option('--json', 'print one JSON object: ids, text, timings')
    .option('--logprobs', "with --json: each token's log probability")
    .option('--stream', 'print the text as it comes', true)
    .option('--no-stream', 'print the text when it is complete')
    .option('--stats', 'print speed, cache bytes and counts to standard error');
  return runOptions(command).action(run);
}

async function run(argument: string | undefined, flags: Flags): Promise<void> {
  checkFlags(argument, flags);
  const prompt = flags.ids ? undefined : await promptText(argument, flags);
  const watch = new Stopwatch();
  const { model, tokenizer } = load(flags.model, flags);
  if (flags.stop && !tokenizer) {
    throw new TouchstoneError(`${flags.model}: --stop needs a tokenizer.json, and there is none.`);
  }
  const ids = flags.ids ?? encodePrompt(prompt!, tokenizer, flags.model);
  watch.lap('load');
  const maxNewTokens = flags.maxNewTokens ?? Math.max(1, Math.min(128, model.config.context - ids.length));
  const seed = flags.seed ?? Math.floor(Math.random() * 2 ** 32);
  const result = await produce(model, tokenizer, ids, { ...flags, maxNewTokens, seed }, watch);
  const stats = statsOf(watch, ids.length, result);
  if (flags.json) {
    const { text, newIds, finish, logprobs } = result;
    const about = { model: flags.model, prompt, prompt_ids: ids };
    const made = { ids: newIds, text, finish_reason: finish, seed, logprobs, stats };
    process.stdout.write(`${JSON.stringify({ ...about, ...made })}\n`);
  }
  if (flags.stats) process.stderr.write(statsText(stats, seed, flags.temperature > 0));
}

/** @throws UsageError for flags that do not go together. */
function checkFlags(argument: string | undefined, { promptFile, ids, json, logprobs, echo, stop }: Flags): void {
  const given = [argument, promptFile, ids].filter((source) => source !== undefined).length;
  if (given > 1) throw new UsageError('The prompt is given twice; give one of: an argument, --prompt-file, --ids.');
  if (logprobs && !json) throw new UsageError('--logprobs: goes with --json, which prints them.');
  if (echo && json) throw new UsageError('--echo: --json holds the prompt already; give one of them.');
  if (stop?.includes('')) throw new UsageError('--stop: expected a text, got an empty one.');
}

async function promptText(argument: string | undefined, { promptFile }: Flags): Promise<string> {
  if (argument !== undefined) return argument;
  if (promptFile !== undefined) return readTextFile(promptFile);
  if (process.stdin.isTTY) {
    throw new UsageError(
      'There is no prompt; give one as an argument, with --prompt-file, --ids, or on standard input.',
    );
  }
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}

interface Result {
  readonly text: string;
  readonly newIds: number[];
  readonly finish: 'length' | 'eos' | 'stop';
  readonly logprobs: number[] | undefined;
  readonly counter: { computed: number; reused: number };
  readonly layers: number;
  readonly bytes: { used: number; allocated: number };
}

/** Generates and, unless --json or --no-stream say otherwise, prints the text as it comes. */
async function produce(
  model: Model,
  tokenizer: TextTokenizer | null,
  ids: number[],
  flags: Flags & { maxNewTokens: number; seed: number },
  watch: Stopwatch,
): Promise<Result> {
  const newIds: number[] = [];
  const logprobs: number[] | undefined = flags.logprobs && [];
  const counter = new AttentionCounter();
  const cache = model.components.newCache();
  const eosIds = eosIdsOf(flags.model);
  // Chunks give Ctrl-C its chance; without a cache each would compute all before it again.
  const prefillChunk = flags.prefillChunk ?? (flags.cache === 'none' ? undefined : 64);
  const tokens = generate(model, ids, cache, { ...flags, eosIds, prefillChunk, pause, counter });
  const text = new TextOut(tokenizer, ids, flags);
  for await (const { id, logits_N } of tokens) {
    watch.lap(newIds.length === 0 ? 'prefill' : 'decode');
    newIds.push(id);
    logprobs?.push(logProbability(logits_N, id));
    if (text.push(id)) break;
  }
  const stopped = text.end();
  const finish = stopped ? 'stop' : eosIds.includes(newIds.at(-1)!) ? 'eos' : 'length';
  const layers = model.config.layers.length;
  return { text: text.whole, newIds, finish, logprobs, counter, layers, bytes: cache.bytes() };
}

/** Turns tokens into text, up to a stop text, and prints it when it is time. */
class TextOut {
  whole = '';
  private readonly pieces: TextStream<number>;
  private readonly stops: ReturnType<typeof stopFilter>;
  private readonly flags: Flags;

  constructor(tokenizer: TextTokenizer | null, prompt: number[], flags: Flags) {
    this.flags = flags;
    // Without a tokenizer, the ids themselves are the text.
    this.pieces = tokenizer ? detokenizer(tokenizer, prompt) : { push: (id) => `${id} `, end: () => '' };
    this.stops = stopFilter(flags.stop ?? []);
    if (flags.echo) process.stdout.write(tokenizer ? tokenizer.decode(prompt) : `${prompt.join(' ')} `);
  }

  /** Whether a stop text has been met. */
  push(id: number): boolean {
    this.take(this.stops.push(this.pieces.push(id)));
    return this.stops.hit !== null;
  }

  /** Lets out what was held back. Whether a stop text has been met. */
  end(): boolean {
    if (this.stops.hit === null) this.take(this.stops.push(this.pieces.end()));
    if (this.stops.hit === null) this.take(this.stops.end());
    if (!this.flags.json) process.stdout.write(this.flags.stream ? '\n' : `${this.whole}\n`);
    return this.stops.hit !== null;
  }

  private take(text: string): void {
    this.whole += text;
    if (text !== '' && this.flags.stream && !this.flags.json) process.stdout.write(text);
  }
}
