/** The built command line, run as a user runs it. */
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
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
  const env = { ...process.env, HF_HUB_OFFLINE: '1', ...variables };
  const { stdout, stderr, status } = spawnSync(process.execPath, [MAIN, ...args], { input, encoding: 'utf8', env });
  return { out: stdout, err: stderr, code: status };
}

/** Runs a command that must succeed. */
export function output(args: readonly string[], input = ''): string {
  const { out, err, code } = touchstone(args, input);
  expect(code, err).toBe(0);
  return out;
}

/** The same beside others, for tests that run concurrently. */
export async function touchstoneAside(args: readonly string[], input = ''): Promise<Outcome> {
  const child = spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, HF_HUB_OFFLINE: '1' } });
  child.stdin.on('error', () => {}); // it may end without having read
  child.stdin.end(input);
  const [out, err, code] = await Promise.all([
    textOf(child.stdout),
    textOf(child.stderr),
    new Promise<number | null>((resolve) => child.once('close', resolve)),
  ]);
  return { out, err, code };
}
