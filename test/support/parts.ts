/**
 * Some tests need a part that npm cannot bring, such as a driver. Where it is missing they are skipped, and say so:
 * a suite that quietly shrinks is worth nothing. With `TOUCHSTONE_REQUIRE=all`, as in CI, a missing part is a failure.
 */
import { spawnSync } from 'node:child_process';
import { describe, test } from 'vitest';
import { openDevice } from '../../attention/kernel/gpu/devices.js';
import { DeviceError } from '../../src/errors.js';

export type Decision = 'run' | 'skip' | 'fail';

/** What becomes of tests: `missing` says why their part is not there, or is null; `required` is TOUCHSTONE_REQUIRE. */
export function decide(missing: string | null, required: string | undefined): Decision {
  if (required !== undefined && required !== '' && required !== 'all') {
    throw new Error(`TOUCHSTONE_REQUIRE is "${required}", and may only be "all"`);
  }
  if (missing === null) return 'run';
  return required === 'all' ? 'fail' : 'skip';
}

const told = new Set<string>();

/** `describe(title, tests)` where nothing is missing, otherwise one test in its place, skipped or failing. */
export function describeWith(missing: string | null, title: string, tests: () => void): void {
  const decision = decide(missing, process.env.TOUCHSTONE_REQUIRE);
  if (decision === 'run') {
    describe(title, tests);
    return;
  }
  const sentence = `${title}: ${missing}`;
  if (decision === 'fail') {
    test(sentence, () => {
      throw new Error(`TOUCHSTONE_REQUIRE=all, and a part is missing: ${missing}`);
    });
    return;
  }
  test.skip(sentence);
  if (!told.has(missing!)) process.stderr.write(`Skipped: ${sentence}\n`);
  told.add(missing!);
}

/** Why no terminal can be made, or null. util-linux's `script` runs a command on one of its own, and hands on Ctrl-C as a terminal does; others have other arguments. */
export function missingTerminal(): string | null {
  const { stdout } = spawnSync('script', ['--version'], { encoding: 'utf8' });
  return stdout?.includes('util-linux') ? null : 'there is no `script` of util-linux to make a terminal.';
}

/** Where a Python is that has NumPy: the one that TOUCHSTONE_PYTHON names, the first of `PATH`, or the system's. null: nowhere. */
export function pythonWithNumpy(): string | null {
  const named = process.env.TOUCHSTONE_PYTHON;
  const candidates = named ? [named] : ['python3', '/usr/bin/python3'];
  return candidates.find((python) => spawnSync(python, ['-c', 'import numpy']).status === 0) ?? null;
}

/** Why there is none, or null. */
export function missingNumpy(): string | null {
  if (pythonWithNumpy() !== null) return null;
  return 'there is no Python with NumPy (Debian: apt-get install python3-numpy; or TOUCHSTONE_PYTHON names one).';
}

let webGpu: Promise<string | null> | undefined;

/** Why there is no WebGPU in this process, or null. It is looked for once. */
export function missingWebGpu(): Promise<string | null> {
  webGpu ??= probeWebGpu();
  return webGpu;
}

async function probeWebGpu(): Promise<string | null> {
  try {
    await openDevice('webgpu', true);
    return null;
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    const help = 'eval "$(node test/support/swiftshader.mjs DIR)" before npm test brings a driver in software';
    return `${error.message} (Or: ${help}.)`;
  }
}
