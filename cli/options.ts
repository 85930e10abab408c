/** Options that several commands share, and how their values are read. */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { KV_DTYPES } from '../attention/cache/cache.js';
import { CACHES } from '../attention/cache/index.js';
import { KERNELS } from '../attention/kernel/index.js';
import { POSITION_POLICIES } from '../attention/slots.js';
import { STRATEGIES } from '../attention/strategy/index.js';
import { VISIBILITIES, type VisibilityConfig, type VisibilityName } from '../attention/visibility/index.js';
import { embeddedModel } from '../src/embedded.js';
import { TouchstoneError, UsageError } from '../src/errors.js';
import { DEFAULT_OPTIONS, type RunOptions } from '../src/model/components.js';
import { loadModel, type Model } from '../src/model/load.js';
import { loadTokenizer, type TextTokenizer } from '../src/text/tokenizer.js';

/** A command with what all have: --debug, errors that come back to `main`, a hint where help is. */
export function newCommand(name: string): Command {
  return new Command(name)
    .option('--debug', 'print the stack of an error')
    .exitOverride()
    .showHelpAfterError(`(touchstone ${name} --help lists the options)`);
}

const names = (table: object) => Object.keys(table);

/** What `runOptions` adds to a command. */
export interface RunFlags extends Omit<RunOptions, 'visibility' | 'cacheTokens' | 'poolPages'>, VisibilitySizes {
  readonly visibility: VisibilityName | 'auto';
  readonly cacheTokens?: number;
  readonly poolPages?: number;
  readonly prefillChunk?: number;
  readonly ignoreConfigKey?: string[];
}

interface VisibilitySizes {
  readonly window?: number;
  readonly sinks?: number;
  readonly attentionChunk?: number;
}

/** `--attention` to `--precision`, and what else every command that runs a model has. */
export function runOptions(command: Command): Command {
  const choice = (flags: string, about: string, choices: readonly string[], fallback: string) =>
    command.addOption(new Option(flags, about).choices(choices).default(fallback));
  choice('--attention <strategy>', 'attention strategy', ['auto', ...names(STRATEGIES)], 'auto');
  choice(
    '--visibility <rule>',
    'which keys a query sees (auto: as the config says)',
    ['auto', ...names(VISIBILITIES)],
    'auto',
  );
  command
    .option('--window <tokens>', 'of sliding and sinks: tokens that a query sees, itself counted', wholeNumber(1))
    .option('--sinks <tokens>', 'of sinks: first tokens that every query sees', wholeNumber(1))
    .option('--attention-chunk <tokens>', 'of chunked: tokens a chunk', wholeNumber(1));
  choice(
    '--positions <policy>',
    'what rope rotates a token to: its place in the text, or in the cache',
    POSITION_POLICIES,
    'absolute',
  );
  choice('--cache <cache>', 'key/value cache', names(CACHES), 'contiguous');
  command
    .option(
      '--page-size <tokens>',
      'of paged, prefix and radix: tokens a page',
      wholeNumber(1),
      DEFAULT_OPTIONS.pageSize,
    )
    .option('--pool-pages <n>', 'of the same: the most pages (default: as many as are needed)', wholeNumber(1))
    .option('--cache-tokens <n>', "of preallocated: tokens (default: the model's context)", wholeNumber(1));
  choice('--kv-dtype <dtype>', 'dtype the cache stores (auto: the precision)', ['auto', ...KV_DTYPES], 'auto');
  choice('--kernel <kernel>', 'attention kernel', names(KERNELS), 'reference');
  choice('--precision <precision>', 'what everything is computed in', ['float32', 'float64'], 'float32');
  return command
    .option('--prefill-chunk <tokens>', 'feed the prompt this many tokens at a time (same bits)', wholeNumber(1))
    .addOption(ignoreOption());
}

/** The rule that the flags describe. @throws UsageError for a size that is missing, or that nothing would use */
function visibilityOf(flags: RunFlags): VisibilityConfig | 'auto' {
  const given = { window: flags.window, chunk: flags.attentionChunk, sinks: flags.sinks };
  const needed: readonly string[] = flags.visibility === 'auto' ? [] : VISIBILITIES[flags.visibility];
  for (const [size, value] of Object.entries(given)) {
    const flag = size === 'chunk' ? '--attention-chunk' : `--${size}`;
    const uses = Object.entries(VISIBILITIES).filter(([, sizes]) => (sizes as readonly string[]).includes(size));
    if (value === undefined && needed.includes(size)) {
      throw new UsageError(`--visibility ${flags.visibility}: needs ${flag} TOKENS.`);
    }
    if (value !== undefined && !needed.includes(size)) {
      throw new UsageError(`${flag}: goes with --visibility ${uses.map(([name]) => name).join(' or ')}.`);
    }
  }
  if (flags.visibility === 'auto') return 'auto';
  return {
    kind: flags.visibility,
    ...Object.fromEntries(needed.map((size) => [size, given[size as keyof typeof given]])),
  } as VisibilityConfig;
}

/** The sizes of caches that were given. @throws UsageError for one that the cache has no use for */
function cacheSizesOf({ cache, pageSize, poolPages, cacheTokens }: RunFlags) {
  const paged = ['paged', 'prefix', 'radix'].includes(cache);
  if (!paged && poolPages !== undefined)
    throw new UsageError('--pool-pages: goes with --cache paged, prefix or radix.');
  if (!paged && pageSize !== DEFAULT_OPTIONS.pageSize) {
    throw new UsageError('--page-size: goes with --cache paged, prefix or radix.');
  }
  if (cache !== 'preallocated' && cacheTokens !== undefined) {
    throw new UsageError('--cache-tokens: goes with --cache preallocated.');
  }
  return { pageSize, ...(poolPages !== undefined && { poolPages }), ...(cacheTokens !== undefined && { cacheTokens }) };
}

/** `--ignore-config-key` */
export function ignoreOption(): Option {
  return new Option(
    '--ignore-config-key <key>',
    'a config.json key known not to change the mathematics; repeatable',
  ).argParser(collected);
}

/** `--model` */
export function modelOption(): Option {
  return new Option('--model <folder>', 'checkpoint folder in Hugging Face form').default(
    embeddedModel(),
    'the embedded one',
  );
}

/** Collects the values of an option that may be given several times. */
export function collected(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/** Loads a checkpoint folder with its tokenizer (null if it has none). */
export function load(folder: string, flags: RunFlags): { model: Model; tokenizer: TextTokenizer | null } {
  const { attention, positions, cache, kvDtype, kernel, precision, ignoreConfigKey: ignoreConfigKeys = [] } = flags;
  const visibility = visibilityOf(flags);
  const chosen = { attention, visibility, positions, cache, ...cacheSizesOf(flags), kvDtype, kernel, precision };
  const model = loadModel(folder, { ...chosen, ignoreConfigKeys });
  return { model, tokenizer: loadTokenizer(folder, model.config.vocabulary) };
}

/** @throws UsageError if what is to be written would take the place of a file that the model was read from. */
export function expectNoPartOf({ files }: Model, out: string, flag: string): void {
  if (existsSync(out) && files.some((file) => realpathSync(file) === realpathSync(out))) {
    throw new UsageError(`${flag}: ${out} is a file of the checkpoint itself; give another one.`);
  }
}

/** Text -> token ids. @throws TouchstoneError where there is no tokenizer, or nothing to feed. */
export function encodePrompt(text: string, tokenizer: TextTokenizer | null, folder: string): number[] {
  if (!tokenizer) {
    throw new TouchstoneError(
      `${folder}: there is no tokenizer.json, so a prompt must be given as token ids (--ids 1,2,3).`,
    );
  }
  const ids = tokenizer.encode(text);
  if (ids.length > 0) return ids;
  throw new TouchstoneError(
    'The prompt is empty, and the tokenizer puts no token before it; give at least one character.',
  );
}

export function readTextFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new TouchstoneError(`${path}: cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
}

/** Reads a JSON array of token ids. */
export function readIds(path: string): number[] {
  let value: unknown;
  const text = readTextFile(path);
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id) && id >= 0)) return value;
  throw new TouchstoneError(
    `${path}: expected a JSON array of token ids, such as [1, 2, 3], got ${JSON.stringify(text.slice(0, 40))}.`,
  );
}

/** Reads `1,2,3`. */
export function idList(text: string): number[] {
  const parts = text.split(',').map((part) => part.trim());
  if (!parts.every((part) => /^\d+$/.test(part))) {
    throw new InvalidArgumentError('Expected token ids with commas between them, such as 1,2,3.');
  }
  return parts.map(Number);
}

/** Reads a whole number of at least `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`Expected a whole number of at least ${least}.`);
  };
}

export function decimal(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value)) return value;
  throw new InvalidArgumentError('Expected a number.');
}

/** Lets signals and timers in between the layers of a forward pass. */
export async function pause(): Promise<void> {
  await setImmediate();
}
