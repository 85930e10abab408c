/** The built command line, run as a user runs it. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ROOT } from './fixtures.js';

export const MAIN = join(ROOT, 'dist', 'cli', 'main.js');

export interface Outcome {
  readonly out: string;
  readonly err: string;
  readonly code: number | null;
}

/** @param variables of the environment, beside the test's own */
export function touchstone(args: readonly string[], input = '', variables: NodeJS.ProcessEnv = {}): Outcome {
  const env = { ...process.env, ...variables };
  const { stdout, stderr, status } = spawnSync(process.execPath, [MAIN, ...args], { input, encoding: 'utf8', env });
  return { out: stdout, err: stderr, code: status };
}

/** Runs a command that must succeed. */
export function output(args: readonly string[], input = ''): string {
  const { out, err, code } = touchstone(args, input);
  expect(code, err).toBe(0);
  return out;
}
