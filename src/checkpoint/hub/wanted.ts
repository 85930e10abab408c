/** Which files of a repository are read, and what is missing where it is none that can be read. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { HubError } from '../../errors.js';
import { INDEX, readShardIndex, SINGLE } from '../shard-index.js';

/** What a model is needed for: to read and write text, to be run on token ids (a tokenizer is taken where there is one), or for its config.json alone. */
export type ModelNeed = 'text' | 'logits' | 'config';

const CONFIG = 'config.json';
const TOKENIZER = 'tokenizer.json';
/** Read where they are there. */
const OPTIONAL = [
  'generation_config.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  'chat_template.json',
];

/**
 * The files to have, weights last: a snapshot with all its weights then has everything else. Of shards only the index
 * is here; it names them.
 * @param id the repository, for the sentence
 * @throws HubError if it holds no checkpoint that can be read, saying what it holds instead
 */
export function wantedOf(files: ReadonlySet<string>, id: string, need: ModelNeed): string[] {
  if (!files.has(CONFIG)) throw unfit(id, CONFIG, files, WEIGHTS);
  if (need === 'config') return [CONFIG];
  const weights = [SINGLE, INDEX].find((name) => files.has(name));
  if (weights === undefined) throw unfit(id, SINGLE, files, WEIGHTS);
  if (need === 'text' && !files.has(TOKENIZER)) throw unfit(id, TOKENIZER, files, VOCABULARIES);
  return [CONFIG, TOKENIZER, ...OPTIONAL, weights].filter((name) => files.has(name));
}

const WEIGHTS = /\.(safetensors|bin|pt|pth|ckpt|gguf|ggml|onnx|h5|msgpack|ot|npz|tflite|mlmodel)$/;
const VOCABULARIES =
  /(^|\/)(tokenizer|spiece|sentencepiece|tekken|vocab|merges|.*\.bpe)[^/]*\.(model|json|txt|tiktoken)$/;

function unfit(id: string, missing: string, files: ReadonlySet<string>, instead: RegExp): HubError {
  const others = [...files].filter((file) => instead.test(file) && /^[\x20-\x7e]{1,100}$/.test(file));
  const some = others.slice(0, 3).join(', ') + (others.length > 3 ? ` and ${others.length - 3} more` : '');
  const it = others.length === 0 ? '' : `; it has ${some}`;
  return new HubError(
    'unfit',
    `${id}: the repository has no ${missing}${it}; expected a checkpoint in safetensors with config.json and tokenizer.json, as transformers' save_pretrained writes it.`,
  );
}

/** The shards that an index names. @throws CheckpointError */
export function shardsOf(indexFile: string): string[] {
  return [...new Set(Object.values(readShardIndex(indexFile)))];
}

/**
 * The first file that a snapshot lacks, or null if it is whole.
 * @param files of the repository where they are known: without them, a file that need not be there is not missed
 */
export function missingOf(folder: string, files: ReadonlySet<string> | null, need: ModelNeed): string | null {
  const has = (name: string): boolean => existsSync(join(folder, name));
  if (need === 'config') return has(CONFIG) ? null : CONFIG;
  const wanted = files ? [CONFIG, TOKENIZER, ...OPTIONAL].filter((name) => files.has(name)) : [CONFIG];
  if (need === 'text') wanted.push(TOKENIZER);
  const missing = wanted.find((name) => !has(name));
  if (missing !== undefined) return missing;
  const single = files ? files.has(SINGLE) : has(SINGLE) || !has(INDEX);
  if (single) return has(SINGLE) ? null : SINGLE;
  return has(INDEX) ? (shardsOf(join(folder, INDEX)).find((shard) => !has(shard)) ?? null) : INDEX;
}
