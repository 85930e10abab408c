/** What a checkpoint folder says beside config.json and the weights. */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
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

/** sha256 of each weights file, by name: what a golden was made from. */
export function weightHashes(folder: string): Record<string, string> {
  const files = readdirSync(folder).filter((name) => name.endsWith('.safetensors') && name.startsWith('model'));
  return Object.fromEntries(files.sort().map((name) => [name, sha256(join(folder, name))]));
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
