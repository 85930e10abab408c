import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const FIXTURES = join(ROOT, 'fixtures');

export function fixture(name: string): string {
  return join(FIXTURES, name);
}

/** The checkpoints that have goldens. */
export const CHECKPOINTS = readdirSync(FIXTURES).filter((name) =>
  existsSync(join(FIXTURES, name, 'golden.safetensors')),
);

/** A folder that is gone when the test is. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'touchstone-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

export interface HuggingFaceGolden {
  readonly inputIds: number[];
  readonly generatedIds: number[];
  /** [T + steps - 1, N] */
  readonly float32: Float32Array;
  readonly truth: Float64Array;
  readonly margins: Float64Array;
}

export function readGolden(name: string): HuggingFaceGolden {
  return withSafetensors(join(FIXTURES, name, 'golden.safetensors'), (file) => ({
    inputIds: Array.from(new BigInt64Array(file.read('input_ids')), Number),
    generatedIds: Array.from(new BigInt64Array(file.read('generated_ids')), Number),
    float32: new Float32Array(file.read('logits')),
    truth: new Float64Array(file.read('logits_float64')),
    margins: new Float64Array(file.read('margins')),
  }));
}
