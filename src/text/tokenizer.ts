import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, validate } from '../checkpoint/json-file.js';
import { CheckpointError } from '../errors.js';
import { pipeline } from './pipeline.js';
import { validateTokenizer } from './tokenizer-schema.js';

export interface EncodeOptions {
  /**
   * Whether to put the tokens around the text that the tokenizer puts around texts (default: true). Those that are written in the text are
   * found either way, so a chat template, which writes all of them, is encoded without.
   */
  readonly specialTokens?: boolean;
}

export interface DecodeOptions {
  /** Whether to write special tokens too (default: false). */
  readonly specialTokens?: boolean;
}

/** Text <-> token ids, as the checkpoint's tokenizer.json says. */
export interface TextTokenizer {
  /** One more than the largest token id. */
  readonly size: number;
  /** With the tokens that the tokenizer puts around a text (a begin-of-text token, for most). Half a surrogate pair counts as U+FFFD. */
  encode(text: string, options?: EncodeOptions): number[];
  /** Without special tokens; ids that no token has are left out. */
  decode(ids: readonly number[], options?: DecodeOptions): string;
  /** Whether a token is one of the byte tokens (`<0x0A>`) that a byte-fallback decoder reads in runs. */
  isByte(id: number): boolean;
  /** Whether a token is left out of decoded text. */
  isSpecial(id: number): boolean;
  /** A token as the vocabulary writes it (a space may be `Ġ` or `▁`); null if no token has the id. */
  tokenOf(id: number): string | null;
  /** The id of a token as the vocabulary writes it; null if there is none. */
  idOf(token: string): number | null;
}

/**
 * Reads tokenizer.json of a checkpoint folder, and checks that its tokenizer_config.json is an object; null if there is no tokenizer.json.
 * @param vocabulary rows of the model's embedding, which every id must fit
 * @throws CheckpointError naming the file and the key
 */
export function loadTokenizer(folder: string, vocabulary: number): TextTokenizer | null {
  const file = join(folder, 'tokenizer.json');
  if (!existsSync(file)) return null;
  const checked = validateTokenizer(readJson(file), file);
  const configFile = join(folder, 'tokenizer_config.json');
  if (existsSync(configFile)) validate(z.looseObject({}), readJson(configFile), configFile);
  const tokenizer = construct(() => pipeline(checked.json, checked.vocabulary), file);
  if (tokenizer.size > vocabulary) {
    throw new CheckpointError(
      `${file}: the largest token id is ${tokenizer.size - 1}, and config.json has vocab_size = ${vocabulary}; they do not belong together.`,
    );
  }
  return tokenizer;
}

function construct(make: () => TextTokenizer, file: string): TextTokenizer {
  try {
    return make();
  } catch (error) {
    throw new CheckpointError(`${file}: cannot be used: ${(error as Error).message}`);
  }
}
