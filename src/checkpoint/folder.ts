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
