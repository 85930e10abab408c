/** What a checkpoint folder says beside config.json and the weights. */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { readJson, validate } from './json-file.js';

const ids = z.union([z.int(), z.array(z.int())]).nullish();
const schema = z.looseObject({ eos_token_id: ids });

/** The tokens that end a text: those of generation_config.json, else those of config.json. */
export function eosIdsOf(folder: string): number[] {
  for (const name of ['generation_config.json', 'config.json']) {
    const file = join(folder, name);
    if (!existsSync(file)) continue;
    const { eos_token_id: eos } = validate(schema, readJson(file), file);
    if (eos !== undefined && eos !== null) return typeof eos === 'number' ? [eos] : eos;
  }
  return [];
}

/** How a checkpoint's makers sample from it. */
export interface SamplingDefaults {
  /** 0 is greedy. */
  readonly temperature: number;
  /** 0 is all tokens. */
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
}

const probability = z.number().min(0).max(1).nullish();
const samplingSchema = z.looseObject({
  do_sample: z.boolean().nullish(),
  temperature: z.number().nonnegative().nullish(),
  top_k: z.int().nonnegative().nullish(),
  top_p: probability,
  min_p: probability,
  repetition_penalty: z.number().positive().nullish(),
});

/** What generation_config.json says of sampling, with what transformers takes for granted: greedy without `do_sample`, else a temperature of 1 and the 50 likeliest tokens. */
export function samplingOf(folder: string): SamplingDefaults {
  const file = join(folder, 'generation_config.json');
  const found = existsSync(file) ? validate(samplingSchema, readJson(file), file) : {};
  const repetitionPenalty = found.repetition_penalty ?? 1;
  if (!found.do_sample) return { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty };
  const { temperature, top_k: topK, top_p: topP, min_p: minP } = found;
  return { temperature: temperature ?? 1, topK: topK ?? 50, topP: topP ?? 1, minP: minP ?? 0, repetitionPenalty };
}

/** sha256 of files, by name: what a golden was made from. */
export function hashesOf(files: readonly string[]): Record<string, string> {
  return Object.fromEntries(files.map((file) => [basename(file), sha256(file)]));
}

function sha256(file: string): string {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(1 << 22);
  const descriptor = openSync(file, 'r');
  try {
    let count = readSync(descriptor, buffer);
    for (; count > 0; count = readSync(descriptor, buffer)) hash.update(buffer.subarray(0, count));
  } finally {
    closeSync(descriptor);
  }
  return hash.digest('hex');
}
