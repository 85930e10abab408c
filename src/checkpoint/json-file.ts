import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { CheckpointError } from '../errors.js';

/** Reads a JSON file. @throws CheckpointError with the file's name if it is missing or not JSON. */
export function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new CheckpointError(
      code === 'ENOENT' ? `${path}: there is no such file.` : `${path}: cannot be read (${code}).`,
    );
  }
  if (text.startsWith('version https://git-lfs')) {
    throw new CheckpointError(`${path}: this is a Git LFS pointer, not the file; run \`git lfs pull\` in that folder.`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CheckpointError(`${path}: expected JSON: ${(error as Error).message}.`);
  }
}

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
