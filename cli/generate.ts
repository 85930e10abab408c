import type { Command } from 'commander';
import { eosIdsOf } from '../src/checkpoint/folder.js';
import { TouchstoneError, UsageError } from '../src/errors.js';
import { generate } from '../src/generate/generate.js';
import { logProbability } from '../src/generate/sampler.js';
import type { Model } from '../src/model/load.js';
import { detokenizer, stopFilter } from '../src/text/stream.js';
import type { TextTokenizer } from '../src/text/tokenizer.js';
import {
  collected,
  decimal,
  idList,
  load,
  modelOption,
  newCommand,
  pause,
  promptIds,
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
    .option('--no-stream', 'print the text when it is complete')
    .option('--stats', 'print speed, cache bytes and counts to standard error');
  return runOptions(command).action(run);
}

async function run(argument: string | undefined, flags: Flags): Promise<void> {
  if (flags.logprobs && !flags.json) throw new UsageError('--logprobs: goes with --json, which prints them.');
  if (flags.echo && flags.json) throw new UsageError('--echo: --json holds the prompt already; give one of them.');
  const prompt = await promptText(argument, flags);
  const watch = new Stopwatch();
  const { model, tokenizer } = load(flags.model, flags);
  const ids = promptIds({ prompt, ids: flags.ids }, tokenizer, model);
  watch.lap('load');
  const maxNewTokens = flags.maxNewTokens ?? Math.max(1, Math.min(128, model.config.context - ids.length));
  const seed = flags.seed ?? Math.floor(Math.random() * 2 ** 32);
  const result = await produce(model, tokenizer, ids, { ...flags, maxNewTokens, seed }, watch);
  const stats = statsOf(watch, ids.length, result);
  if (flags.json) {
    const { text, newIds, finish, logprobs } = result;
    const object = {
      model: flags.model,
      prompt,
      prompt_ids: ids,
      ids: newIds,
      text,
      finish_reason: finish,
      seed,
      logprobs,
      stats,
    };
    process.stdout.write(`${JSON.stringify(object)}\n`);
  }
  if (flags.stats) process.stderr.write(statsText(stats, seed, flags.temperature > 0));
}

/** The text to continue; undefined if it is given as ids. */
async function promptText(argument: string | undefined, { promptFile, ids }: Flags): Promise<string | undefined> {
  const given = [argument, promptFile, ids].filter((source) => source !== undefined).length;
  if (given > 1) throw new UsageError('The prompt is given twice; give one of: an argument, --prompt-file, --ids.');
  if (ids) return undefined;
  if (argument !== undefined) return argument;
  if (promptFile !== undefined) return readTextFile(promptFile);
  if (process.stdin.isTTY)
    throw new UsageError(
      'There is no prompt; give one as an argument, with --prompt-file, --ids, or on standard input.',
    );
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}

interface Result {
  text: string;
  newIds: number[];
  finish: 'length' | 'eos' | 'stop';
  logprobs: number[] | undefined;
  counter: { computed: number; reused: number };
  layers: number;
  bytes: { used: number; allocated: number };
}

/** Generates and, unless --json or --no-stream say otherwise, prints the text as it comes. */
async function produce(
  model: Model,
  tokenizer: TextTokenizer | null,
  ids: number[],
  flags: Flags & { maxNewTokens: number; seed: number },
  watch: Stopwatch,
): Promise<Result> {
  if (flags.stop?.some((stop) => stop === '')) throw new UsageError('--stop: expected a text, got an empty one.');
  if (flags.stop && !tokenizer)
    throw new TouchstoneError(`${model.folder}: --stop needs a tokenizer.json, and there is none.`);
  const pieces = tokenizer ? detokenizer(tokenizer, ids) : spelledIds();
  const stops = stopFilter(flags.stop ?? []);
  const eosIds = eosIdsOf(model.folder);
  const cache = model.components.newCache();
  const result: Result = {
    text: '', newIds: [], finish: 'length', logprobs: flags.logprobs ? [] : undefined,
    counter: { computed: 0, reused: 0 }, layers: model.config.layers.length, bytes: cache.bytes(),
  }; // biome-ignore format: one line a kind
  const print = (text: string): void => {
    if (text !== '' && !flags.json) process.stdout.write(text);
  };
  const take = (text: string): void => {
    result.text += text;
    if (flags.stream) print(text);
  };
  // Chunks give Ctrl-C its chance; without a cache each would compute all before it again.
  const prefillChunk = flags.prefillChunk ?? (flags.cache === 'none' ? undefined : 64);
  const tokens = generate(model, ids, cache, { ...flags, eosIds, prefillChunk, pause, counter: result.counter });
  if (flags.echo) print(tokenizer ? tokenizer.decode(ids) : `${ids.join(' ')} `);
  for await (const { id, logits_N } of tokens) {
    watch.lap(result.newIds.length === 0 ? 'prefill' : 'decode');
    result.newIds.push(id);
    result.logprobs?.push(logProbability(logits_N, id));
    take(stops.push(pieces.push(id)));
    if (eosIds.includes(id)) result.finish = 'eos';
    if (stops.hit !== null) result.finish = 'stop';
    if (stops.hit !== null) break;
  }
  if (stops.hit === null) take(stops.push(pieces.end()) + stops.end());
  print(flags.stream ? '\n' : `${result.text}\n`);
  return { ...result, bytes: cache.bytes() };
}

/** Without a tokenizer, the ids themselves are the text. */
function spelledIds() {
  return { push: (id: number) => `${id} `, end: () => '' };
}
