/** Options that several commands share, and how their values are read. */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { KV_DTYPES } from '../attention/cache/codec/format.js';
import { CACHE_SIZES, CACHES, type CacheName, type CacheSizes } from '../attention/cache/index.js';
import { KERNELS } from '../attention/kernel/index.js';
import { POSITION_POLICIES } from '../attention/slots.js';
import { STRATEGIES } from '../attention/strategy/index.js';
import { VISIBILITIES, type VisibilityConfig, type VisibilityName } from '../attention/visibility/index.js';
import { embeddedModel } from '../src/embedded.js';
import { TouchstoneError, UsageError } from '../src/errors.js';
import type { RunOptions } from '../src/model/components.js';
import { loadModel, type Model } from '../src/model/load.js';
import { PRECISIONS } from '../src/tensor/tensor.js';
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
export interface RunFlags extends Omit<RunOptions, 'visibility' | keyof CacheSizes>, Partial<CacheSizes> {
  readonly visibility: VisibilityName | 'auto';
  readonly window?: number;
  readonly sinks?: number;
  readonly attentionChunk?: number;
  readonly prefillChunk?: number;
  readonly ignoreConfigKey?: string[];
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
    .option('--page-size <tokens>', 'of paged, prefix and radix: tokens a page (default: 16)', wholeNumber(1))
    .option(
      '--pool-pages <n>',
      'of paged, prefix and radix: the most pages in the pool (default: as many as are needed)',
      wholeNumber(1),
    )
    .option('--cache-tokens <n>', "of preallocated: tokens (default: the model's context)", wholeNumber(1));
  choice('--kv-dtype <dtype>', 'dtype the cache stores (auto: the precision)', ['auto', ...KV_DTYPES], 'auto');
  choice('--kernel <kernel>', 'attention kernel', names(KERNELS), 'reference');
  choice('--precision <precision>', 'what everything is computed in', PRECISIONS, 'float32');
  return command
    .option('--prefill-chunk <tokens>', 'feed the prompt this many tokens at a time (same bits)', wholeNumber(1))
    .addOption(ignoreOption());
}

type Sizes = Readonly<Record<string, number | undefined>>;

/** @throws UsageError for a size that is missing, or that nothing would use */
function expectSizes(
  chosen: string,
  needed: readonly string[],
  given: Sizes,
  uses: (size: string) => readonly string[],
): void {
  for (const [size, value] of Object.entries(given)) {
    if (value !== undefined && !needed.includes(size)) {
      throw new UsageError(`${FLAGS[size]}: goes with ${chosen.split(' ')[0]} ${uses(size).join(' or ')}.`);
    }
    if (value === undefined && needed.includes(size) && !OPTIONAL.has(size)) {
      throw new UsageError(`${chosen}: needs ${FLAGS[size]} TOKENS.`);
    }
  }
}

const FLAGS: Readonly<Record<string, string>> = {
  window: '--window',
  chunk: '--attention-chunk',
  sinks: '--sinks',
  pageSize: '--page-size',
  poolPages: '--pool-pages',
  cacheTokens: '--cache-tokens',
};

/** Sizes that have a default. */
const OPTIONAL = new Set(['pageSize', 'poolPages', 'cacheTokens']);

/** The rule that the flags describe. */
function visibilityOf({ visibility: kind, window, attentionChunk: chunk, sinks }: RunFlags): VisibilityConfig | 'auto' {
  const sizes = { window, chunk, sinks };
  const needed = kind === 'auto' ? [] : VISIBILITIES[kind][0];
  const uses = (size: string) => names(VISIBILITIES).filter((name) => sizesOf(name as VisibilityName).includes(size));
  expectSizes(`--visibility ${kind}`, needed, sizes, uses);
  return kind === 'auto' ? 'auto' : ({ kind, ...given(sizes) } as VisibilityConfig);
}

function sizesOf(kind: VisibilityName): readonly string[] {
  return VISIBILITIES[kind][0];
}

/** The sizes of caches that were given. */
function cacheSizesOf({ cache, pageSize, poolPages, cacheTokens }: RunFlags): Partial<CacheSizes> {
  const sizes = { pageSize, poolPages, cacheTokens };
  const uses = (size: string) =>
    names(CACHES).filter((name) => (CACHE_SIZES[name as CacheName] as readonly string[]).includes(size));
  expectSizes(`--cache ${cache}`, CACHE_SIZES[cache], sizes, uses);
  return given(sizes);
}

/** Without what is undefined. */
function given(sizes: Sizes): Record<string, number> {
  return Object.fromEntries(Object.entries(sizes).filter(([, value]) => value !== undefined)) as Record<string, number>;
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

/** @throws UsageError if what is to be written would take the place of what was read: a file of the checkpoint's folder, or another one */
export function expectNotRead(
  out: string,
  flag: string,
  folder: string,
  others: readonly (string | undefined)[],
): void {
  if (!existsSync(out)) return;
  const place = realpathSync(out);
  const beside = readdirSync(folder).map((name) => join(folder, name));
  const read = [...beside, ...others].find((file) => file && existsSync(file) && realpathSync(file) === place);
  if (read) throw new UsageError(`${flag}: ${out} is a file that is read here (${read}); give another one.`);
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
