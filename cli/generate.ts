import type { Command } from 'commander';
import type { SamplingDefaults } from '../src/checkpoint/folder.js';
import { TouchstoneError, UsageError } from '../src/errors.js';
import { loadCache } from '../src/generate/cache-file.js';
import { longestText } from '../src/generate/generate.js';
import { rewind } from '../src/generate/rewind.js';
import { load } from './load-model.js';
import {
  encodePrompt,
  expectNotRead,
  GROUPS,
  idList,
  modelOption,
  newCommand,
  readTextFile,
  wholeNumber,
} from './options.js';
import { type Continuation, produce } from './produce.js';
import { progressBar, withBar } from './progress.js';
import { type RunFlags, runOptions } from './run-options.js';
import { expectStops, GREEDY, newSeed, type SamplingFlags, samplingOptions } from './sampling-options.js';
import { Stopwatch, statsOf, statsText } from './stats.js';

interface Flags extends RunFlags, Omit<SamplingFlags, keyof SamplingDefaults>, SamplingDefaults {
  readonly model: string;
  readonly promptFile?: string;
  readonly ids?: number[];
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
    .addHelpText(
      'after',
      `
Examples:
  touchstone generate "It was" -n 40 --temperature 0.8 --top-p 0.95 --seed 1 --stats
  echo "It was" | touchstone generate --stop "." --json --logprobs
  touchstone generate "It was" --visibility sinks --window 64 --sinks 4 --cache ring -n 1000`,
    )
    .optionsGroup(GROUPS.output)
    .option('--echo', 'print the prompt before its continuation')
    .option('--json', 'print one JSON object: ids, text, timings')
    .option('--logprobs', "with --json: each token's log probability")
    .option('--stream', 'print the text as it comes', true)
    .option('--no-stream', 'print the text when it is complete')
    .option('--stats', 'print speed, cache bytes and counts to standard error');
  samplingOptions(command, '128, or what the context still holds', GREEDY);
  return runOptions(command).action(run);
}

async function run(argument: string | undefined, flags: Flags): Promise<void> {
  checkFlags(argument, flags);
  const given = flags.ids ? undefined : await promptText(argument, flags);
  const fromCache = flags.loadCache !== undefined && !flags.ids && given === '';
  const prompt = fromCache ? undefined : given;
  const watch = new Stopwatch();
  const { folder, model, tokenizer } = await load(flags.model, flags, flags.ids ? 'logits' : 'text');
  if (flags.stop && !tokenizer) {
    throw new TouchstoneError(`${folder}: --stop needs a tokenizer.json, and there is none.`);
  }
  if (flags.saveCache !== undefined) {
    expectNotRead(flags.saveCache, '--save-cache', [folder], [flags.promptFile]);
  }
  const cache = flags.loadCache === undefined ? model.components.newCache() : loadCache(flags.loadCache, model);
  const ids = flags.ids ?? (fromCache ? [...cache.ids] : encodePrompt(prompt!, tokenizer, folder));
  if (flags.loadCache !== undefined && rewind(cache, ids, model.components.format.residual) === 0) {
    throw new TouchstoneError(
      `${flags.loadCache}: its tokens and the prompt's have no beginning in common; feed the prompt without it.`,
    );
  }
  watch.lap('load');
  const room = Math.min(longestText(model) - ids.length, 128);
  const seed = flags.seed ?? newSeed();
  const request = { ...flags, folder, maxNewTokens: flags.maxNewTokens ?? Math.max(1, room), seed };
  const fresh = ids.length - cache.next;
  const result = await withBar(progressBar('prefill'), (bar) =>
    produce(model, tokenizer, ids, cache, { ...request, bar }, watch),
  );
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

/** @throws UsageError for flags that do not go together. */
function checkFlags(argument: string | undefined, flags: Flags): void {
  const { json, logprobs, echo, cache, saveCache: save, loadCache: from, continuations, temperature } = flags;
  const given = [argument, flags.promptFile, flags.ids].filter((source) => source !== undefined).length;
  if (given > 1) throw new UsageError('The prompt is given twice; give one of: an argument, --prompt-file, --ids.');
  if (logprobs && !json) throw new UsageError('--logprobs: goes with --json, which prints them.');
  if (echo && json) throw new UsageError('--echo: --json holds the prompt already; give one of them.');
  expectStops(flags);
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
