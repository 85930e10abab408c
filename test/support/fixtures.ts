import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { PositionPolicy } from '../../attention/slots.js';
import type { VisibilityConfig } from '../../attention/visibility/index.js';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import type { LoadOptions } from '../../src/model/load.js';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const FIXTURES = join(ROOT, 'fixtures');

export function fixture(name: string): string {
  return join(FIXTURES, name);
}

function checkpointsIn(folder: string): string[] {
  if (!existsSync(join(FIXTURES, folder))) return [];
  const names = readdirSync(join(FIXTURES, folder)).map((name) => join(folder, name));
  return names.filter((name) => existsSync(join(FIXTURES, name, 'golden.safetensors')));
}

/** The checkpoints that have goldens, and are run in every way: trained ones, and random ones of a few families. */
export const CHECKPOINTS = checkpointsIn('');

/** One or more of every other family, with goldens too. */
export const FAMILY_CHECKPOINTS = checkpointsIn('families');

/** What a checkpoint's golden was recorded with, beside the checkpoint. */
export function goldenOptions(checkpoint: string): LoadOptions {
  const { rope_length } = JSON.parse(readFileSync(join(FIXTURES, checkpoint, 'golden.json'), 'utf8')) as {
    rope_length?: number;
  };
  return rope_length === undefined ? {} : { ropeLength: rope_length };
}

/** A folder that is gone when the test is. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'touchstone-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A run that a golden was recorded of: a checkpoint, and what it was run with. */
export interface GoldenCase {
  readonly name: string;
  readonly checkpoint: string;
  /** Beside a variant's golden; a checkpoint's own has none. */
  readonly options: LoadOptions;
  /** Who recorded it. */
  readonly source: string;
  readonly file: string;
}

interface RecordedVariant {
  readonly name: string;
  readonly checkpoint: string;
  readonly options: { visibility: string; positions: PositionPolicy; window?: number; chunk?: number; sinks?: number };
  readonly source: string;
}

/** Every golden: each checkpoint as it is, and full attention run with other rules. */
export const GOLDENS: readonly GoldenCase[] = [
  ...[...CHECKPOINTS, ...FAMILY_CHECKPOINTS].map((name) => ({
    name: basename(name),
    checkpoint: name,
    options: goldenOptions(name),
    source: 'transformers',
    file: join(FIXTURES, name, 'golden.safetensors'),
  })),
  ...(JSON.parse(readFileSync(join(FIXTURES, 'variants.json'), 'utf8')) as RecordedVariant[]).map(
    ({ name, checkpoint, options: { visibility: kind, positions, ...sizes }, source }) => ({
      name,
      checkpoint,
      options: { visibility: { kind, ...sizes } as VisibilityConfig, positions },
      source,
      file: join(FIXTURES, 'variants', `${name}.safetensors`),
    }),
  ),
];

export interface HuggingFaceGolden {
  readonly inputIds: number[];
  readonly generatedIds: number[];
  /** [T + steps - 1, N] */
  readonly float32: Float32Array;
  readonly truth: Float64Array;
  readonly margins: Float64Array;
}

export function readGolden(name: string): HuggingFaceGolden {
  return withSafetensors(GOLDENS.find((golden) => golden.name === name)!.file, (file) => ({
    inputIds: Array.from(new BigInt64Array(file.read('input_ids')), Number),
    generatedIds: Array.from(new BigInt64Array(file.read('generated_ids')), Number),
    float32: new Float32Array(file.read('logits')),
    truth: new Float64Array(file.read('logits_float64')),
    margins: new Float64Array(file.read('margins')),
  }));
}
