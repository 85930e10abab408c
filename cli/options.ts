/** Options that several commands share, and how their values are read. */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option, type OutputConfiguration } from 'commander';
import { embeddedModel } from '../src/embedded.js';
import { TouchstoneError, UsageError } from '../src/errors.js';
import type { TextTokenizer } from '../src/text/tokenizer.js';
import { MODEL } from './model-folder.js';

/** Headings of options in help. */
export const GROUPS = {
  output: 'Output:',
  sampling: 'Sampling:',
  run: 'How the model is run:',
  cache: 'Key/value cache:',
  trace: 'What is written of it:',
} as const;

/** A command with what all have: --debug, errors that come back to `main`, a hint where help is. */
export function newCommand(name: string, path = name): Command {
  return new Command(name)
    .option('--debug', 'print the stack of an error')
    .exitOverride()
    .configureOutput(USAGE_ERRORS)
    .showHelpAfterError(`(touchstone ${path} --help lists the options)`);
}

/** Commander's sentences, begun as ours are. */
export const USAGE_ERRORS: OutputConfiguration = {
  outputError: (text, write) => write(text.replace(/^error: /, 'touchstone: ')),
};

/** `--ignore-config-key` */
export function ignoreOption(): Option {
  return new Option(
    '--ignore-config-key <key>',
    'a config.json key known not to change the mathematics; repeatable',
  ).argParser(collected);
}

/** `--rope-length` */
export function ropeLengthOption(): Option {
  return new Option(
    '--rope-length <tokens>',
    'of dynamic and longrope: the longest sequence, which decides the rope (default: as long as the model was first trained on)',
  ).argParser(wholeNumber(1));
}

/** `--model` */
export function modelOption(): Option {
  return new Option('--model <model>', MODEL).default(embeddedModel(), 'the embedded one');
}

/** Collects the values of an option that may be given several times. */
export function collected(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/** @throws UsageError if what is to be written would take the place of what was read: a file of the checkpoint's folder, or another one */
export function expectNotRead(
  out: string,
  flag: string,
  folders: readonly string[],
  others: readonly (string | undefined)[],
): void {
  if (!existsSync(out)) return;
  const place = realpathSync(out);
  const beside = folders.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
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

/** A file's text -> token ids. @throws TouchstoneError where there is no tokenizer, or the file has no text */
export function encodeText(path: string, tokenizer: TextTokenizer | null, folder: string): number[] {
  const text = readTextFile(path);
  if (!tokenizer) throw new TouchstoneError(`${folder}: there is no tokenizer.json, so no text can be read.`);
  if (text.trim() === '') throw new TouchstoneError(`${path}: the file has no text; give one that has.`);
  return encodePrompt(text, tokenizer, folder);
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

/** Reads `1,16,256`: numbers of at least 1. */
export function wholeNumbers(what: string, example: string): (text: string) => number[] {
  return (text) => {
    const parts = text.split(',').map((part) => part.trim());
    if (parts.every((part) => /^[1-9]\d{0,8}$/.test(part))) return parts.map(Number);
    throw new InvalidArgumentError(`Expected ${what} with commas between them, such as ${example}.`);
  };
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

export function positive(text: string): number {
  const value = decimal(text);
  if (value > 0) return value;
  throw new InvalidArgumentError('Expected a number above 0.');
}

/** Lets signals and timers in between the layers of a forward pass. */
export async function pause(): Promise<void> {
  await setImmediate();
}
