import type { Command } from 'commander';
import type { KvCache } from '../attention/cache/cache.js';
import { TouchstoneError, UsageError } from '../src/errors.js';
import { loadCache } from '../src/generate/cache-file.js';
import { commonBeginning, longestText } from '../src/generate/generate.js';
import { load } from './load-model.js';
import {
  collected,
  decimal,
  encodePrompt,
  expectNotRead,
  idList,
  modelOption,
  newCommand,
  readTextFile,
  wholeNumber,
} from './options.js';
import { type Continuation, produce } from './produce.js';
import { type RunFlags, runOptions } from './run-options.js';
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
  readonly continuations: number;
  readonly saveCache?: string;
  readonly loadCache?: string;
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
    .option(
      '--continuations <n>',
      'this many continuations of the prompt, which is fed once; the i-th is drawn with seed + i - 1 (needs a temperature above 0)',
      wholeNumber(1),
      1,
    )
    .option('--save-cache <file>', 'write the key/value cache of the prompt to a .safetensors file')
    .option(
      '--load-cache <file>',
      'go on from a saved cache: only what the prompt has beyond it is fed; without a prompt, from its own tokens',
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
  const given = flags.ids ? undefined : await promptText(argument, flags);
  const fromCache = flags.loadCache !== undefined && !flags.ids && given === '';
  const prompt = fromCache ? undefined : given;
  const watch = new Stopwatch();
  const { model, tokenizer } = await load(flags.model, flags);
  if (flags.stop && !tokenizer) {
    throw new TouchstoneError(`${flags.model}: --stop needs a tokenizer.json, and there is none.`);
  }
  if (flags.saveCache !== undefined) {
    expectNotRead(flags.saveCache, '--save-cache', flags.model, [flags.promptFile]);
  }
  const cache = flags.loadCache === undefined ? model.components.newCache() : loadCache(flags.loadCache, model);
  const ids = flags.ids ?? (fromCache ? [...cache.ids] : encodePrompt(prompt!, tokenizer, flags.model));
  if (flags.loadCache !== undefined) goBackToCommon(cache, ids, flags.loadCache, model.components.format.residual);
  watch.lap('load');
  const room = Math.min(longestText(model) - ids.length, 128);
  const seed = flags.seed ?? Math.floor(Math.random() * 2 ** 32);
  const request = { ...flags, maxNewTokens: flags.maxNewTokens ?? Math.max(1, room), seed };
  const fresh = ids.length - cache.next;
  const result = await produce(model, tokenizer, ids, cache, request, watch);
  const stats = statsOf(watch, fresh, result);
  if (flags.json) {
    const about = { model: flags.model, prompt, prompt_ids: ids };
    const [only, ...more] = result.continuations.map((one, i) => jsonOf(one, seed + i));
    const written = more.length === 0 ? only : { continuations: [only, ...more] };
    process.stdout.write(`${JSON.stringify({ ...about, ...written, stats })}\n`);
  }
  if (flags.stats) process.stderr.write(statsText(stats, seed, flags.temperature > 0));
}

function jsonOf({ newIds, text, finish, logprobs }: Continuation, seed: number) {
  return { ids: newIds, text, finish_reason: finish, seed, logprobs };
}

/** Lets go of what a loaded cache holds beyond the prompt, and of the prompt's last token, whose logits are needed. */
function goBackToCommon(cache: KvCache, ids: readonly number[], file: string, residual: number): void {
  const common = commonBeginning(cache.ids, ids);
  if (common === 0) {
    throw new TouchstoneError(
      `${file}: its tokens and the prompt's have no beginning in common; feed the prompt without it.`,
    );
  }
  const to = Math.min(common, ids.length - 1);
  if (to < cache.next) goBack(cache, to, residual);
}

/** To a position, or where rows there are quantised that it reads as they were computed, to the block's beginning: the rest is fed again. */
function goBack(cache: KvCache, position: number, residual: number): void {
  try {
    cache.rollback(position);
  } catch (error) {
    const block = residual > 0 ? position - (position % residual) : position;
    if (block === position) throw error;
    cache.rollback(block);
  }
}

/** @throws UsageError for flags that do not go together. */
function checkFlags(argument: string | undefined, flags: Flags): void {
  const { json, logprobs, echo, stop, cache, saveCache: save, loadCache: from, continuations, temperature } = flags;
  const given = [argument, flags.promptFile, flags.ids].filter((source) => source !== undefined).length;
  if (given > 1) throw new UsageError('The prompt is given twice; give one of: an argument, --prompt-file, --ids.');
  if (logprobs && !json) throw new UsageError('--logprobs: goes with --json, which prints them.');
  if (echo && json) throw new UsageError('--echo: --json holds the prompt already; give one of them.');
  if (stop?.includes('')) throw new UsageError('--stop: expected a text, got an empty one.');
  if (cache === 'none' && (save !== undefined || from !== undefined)) {
    throw new UsageError(
      `--${save === undefined ? 'load' : 'save'}-cache: the cache none keeps nothing; choose another.`,
    );
  }
  if (continuations > 1 && temperature === 0) {
    throw new UsageError('--continuations: greedy ones are all alike; give a --temperature above 0.');
  }
}

/** The prompt; an empty one where standard input is a terminal and a saved cache has tokens to go on from. */
async function promptText(argument: string | undefined, { promptFile, loadCache: from }: Flags): Promise<string> {
  if (argument !== undefined) return argument;
  if (promptFile !== undefined) return readTextFile(promptFile);
  if (process.stdin.isTTY && from !== undefined) return '';
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
