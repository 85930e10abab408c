/**
 * The inputs that break other programs, each with a number, and what each must get: one sentence that names the file and the tensor, key or flag;
 * a non-zero exit; no stack; nothing written. Tests run beside each other, since most of them start the command line.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { copyOf, editJson } from './checkpoint.js';
import { touchstoneAside } from './cli.js';

/** A small checkpoint without a tokenizer, and the trained one, which has one. */
export const TINY = 'tiny-llama-linear-bf16';
export const AUSTEN = 'austen-llama';

const root = mkdtempSync(join(tmpdir(), 'touchstone-bad-'));
afterAll(() => rmSync(root, { recursive: true }));

/** A folder that is gone when the tests of the file are. (Concurrent tests have no `onTestFinished` of their own outside their context.) */
export function newFolder(): string {
  return mkdtempSync(join(root, 'case-'));
}

/** A copy of a checkpoint that a test may damage. */
export function damaged(name: string, damage: (folder: string) => void = () => {}): string {
  const folder = copyOf(name, newFolder());
  damage(folder);
  return folder;
}

type Json = Record<string, unknown>;

/** A copy with another config.json; a key that becomes undefined is removed. */
export function configured(name: string, change: Json): string {
  return damaged(name, (folder) => editJson(join(folder, 'config.json'), (config) => ({ ...config, ...change })));
}

/** One numbered input. `numbers.test.ts` reads the calls, so the number stands in them as it is. */
export function bad(number: number, what: string, test: () => Promise<void>): void {
  it.concurrent(`${number}: ${what}`, test);
}

interface Refusal {
  /** 1: what was given cannot be used; 2: it was asked for in a wrong way. */
  readonly code: 1 | 2;
  /** What the sentence must have in it: the file, the tensor, key or flag. */
  readonly says: readonly (string | RegExp)[];
  /** The folder that must be as it was afterwards. */
  readonly folder?: string;
  readonly input?: string;
}

/** Runs the command line, and expects it to refuse. */
export async function expectRefused(
  args: readonly string[],
  { code, says, folder, input = '' }: Refusal,
): Promise<void> {
  const before = folder && stateOf(folder);
  const found = await touchstoneAside(args, input);
  const [sentence, ...rest] = found.err.trimEnd().split('\n');
  expect(sentence, found.err).toMatch(/^touchstone: ./);
  // Of a wrong usage, commander adds where help is, in parentheses.
  for (const line of rest) expect(code === 2 && /^\(.*\)$/.test(line), found.err).toBe(true);
  for (const part of says) expect(sentence).toMatch(typeof part === 'string' ? exactly(part) : part);
  expect(found.err).not.toMatch(/^\s+at |unexpected error/m);
  expect([found.code, found.out], found.err).toEqual([code, '']);
  if (folder) expect(stateOf(folder)).toEqual(before);
}

/** `touchstone inspect` reads all of a checkpoint but generation_config.json, so it refuses all that is wrong with it. */
export function expectUnreadable(folder: string, ...says: (string | RegExp)[]): Promise<void> {
  return expectRefused(['inspect', folder], { code: 1, says, folder });
}

function exactly(text: string): RegExp {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
}

/** Every file with its time and its bytes. */
function stateOf(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return names.map((name) => {
    const path = join(folder, name);
    const { mtimeMs } = statSync(path);
    const bytes = statSync(path).isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : 'folder';
    return `${name} ${mtimeMs} ${bytes}`;
  });
}
