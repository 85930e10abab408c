import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { CheckpointError } from '../errors.js';
import { strictUtf8 } from './strict-utf8.js';

/** Far beyond any checkpoint; what reads values recursively (schemas, messages) would run out of stack at some thousands. */
const DEEPEST = 100;

/**
 * Reads a JSON file.
 * @param prepare what is done to the text before it is parsed
 * @throws CheckpointError with the file's name if it is missing, not UTF-8, not JSON, or nested beyond reason
 */
export function readJson(path: string, prepare = (text: string) => text): unknown {
  const fail = (problem: string): never => {
    throw new CheckpointError(`${path}: ${problem}`);
  };
  const bytes = readBytes(path, fail);
  const text = strictUtf8(bytes, 'the file', fail);
  if (text.startsWith('version https://git-lfs')) {
    return fail('this is a Git LFS pointer, not the file; run `git lfs pull` in that folder.');
  }
  if (nestsDeeper(bytes, DEEPEST))
    return fail(`expected JSON, got arrays or objects nested more than ${DEEPEST} deep.`);
  try {
    return JSON.parse(prepare(text));
  } catch (error) {
    return fail(`expected JSON: ${(error as Error).message}.`);
  }
}

function readBytes(path: string, fail: (problem: string) => never): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return fail(code === 'ENOENT' ? 'there is no such file.' : `cannot be read (${code}).`);
  }
}

/** Whether arrays and objects lie more than `most` deep in each other, outside of strings. */
function nestsDeeper(json: Uint8Array, most: number): boolean {
  let [depth, quoted] = [0, false];
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]!;
    if (byte === QUOTE) quoted = !quoted;
    else if (quoted) at += byte === BACKSLASH ? 1 : 0;
    else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) depth++;
    else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) depth--;
    if (depth > most) return true;
  }
  return false;
}

const [QUOTE, BACKSLASH, OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d];

/** Validates parsed JSON against a schema. @throws CheckpointError naming file, key, value and what was expected. */
export function validate<Schema extends z.ZodType>(schema: Schema, raw: unknown, file: string): z.output<Schema> {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  throw new CheckpointError(`${file}: ${sentence(result.error.issues[0]!, raw)}`);
}

function sentence(issue: z.core.$ZodIssue, raw: unknown): string {
  if (issue.code === 'unrecognized_keys') {
    const path = [...issue.path, issue.keys[0]!];
    return (
      `the key ${path.join('.')} = ${show(at(raw, path))} is not understood, and it might change the mathematics; ` +
      'if it does not, name it with --ignore-config-key.'
    );
  }
  const found = at(raw, issue.path);
  const place = issue.path.length ? `the key ${issue.path.join('.')}` : 'the file';
  return found === undefined
    ? `${place} is missing (${issue.message}).`
    : `${place} = ${show(found)} is not valid: ${issue.message}.`;
}

function at(raw: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], raw);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
