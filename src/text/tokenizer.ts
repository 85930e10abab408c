import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as tokenizers from '@huggingface/tokenizers';
import { z } from 'zod';
import { readJson, validate } from '../checkpoint/json-file.js';
import { CheckpointError } from '../errors.js';
import { byteOf, decodeByteFallback } from './byte-fallback.js';
import { validateTokenizer } from './tokenizer-schema.js';

/** Text <-> token ids, as the checkpoint's tokenizer.json says. */
export interface TextTokenizer {
  /** One more than the largest token id. */
  readonly size: number;
  /** With the tokens that the tokenizer puts around a text (a begin-of-text token, for most). */
  encode(text: string, options?: { readonly specialTokens?: boolean }): number[];
  /** Without special tokens. */
  decode(ids: readonly number[]): string;
  tokenOf(id: number): string | undefined;
  isAdded(id: number): boolean;
  isSpecial(id: number): boolean;
  /** Whether a token is one of the byte tokens (`<0x0A>`) that a byte-fallback decoder reads in runs. */
  isByte(id: number): boolean;
}

/**
 * Reads tokenizer.json and tokenizer_config.json of a checkpoint folder; null if there is no tokenizer.json.
 * @param vocabulary rows of the model's embedding, which every id must fit
 * @throws CheckpointError naming the file and the key
 */
export function loadTokenizer(folder: string, vocabulary: number): TextTokenizer | null {
  const file = join(folder, 'tokenizer.json');
  if (!existsSync(file)) return null;
  const raw = validateTokenizer(readJson(file), file);
  const configFile = join(folder, 'tokenizer_config.json');
  const config = existsSync(configFile) ? validate(z.looseObject({}), readJson(configFile), configFile) : {};
  const tokenizer = construct(raw, config, file);
  const fallsBack = decodersOf(tokenizer).some((part) => part instanceof library.ByteFallbackDecoder);
  const size = largestId(tokenizer) + 1;
  const addedIds = new Map(
    (raw as { added_tokens: { id: number; special?: boolean }[] }).added_tokens.map(({ id, special }) => [
      id,
      special ?? false,
    ]),
  );
  if (size > vocabulary) {
    throw new CheckpointError(
      `${file}: the largest token id is ${size - 1}, and config.json has vocab_size = ${vocabulary}; they do not belong together.`,
    );
  }
  return {
    size,
    encode: (text, { specialTokens = true } = {}) => tokenizer.encode(text, { add_special_tokens: specialTokens }).ids,
    tokenOf: (id) => tokenizer.id_to_token(id),
    isAdded: (id) => addedIds.has(id),
    isSpecial: (id) => addedIds.get(id) === true,
    decode: (ids) => {
      // The library throws for an empty list, and takes an id without a token for <unk>; Python's leaves it out.
      const known = ids.filter((id) => tokenizer.id_to_token(id) !== undefined);
      if (known.length === 0) return '';
      return tokenizer.decode(known, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
    },
    isByte: (id) => fallsBack && byteOf(tokenizer.id_to_token(id) ?? '') !== null,
  };
}

/** What is used of the library. Its own types do not resolve under Node's module rules, so they would all be `any`. */
interface LibraryTokenizer {
  encode(text: string, options?: { add_special_tokens: boolean }): { ids: number[] };
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
  id_to_token(id: number): string | undefined;
  get_vocab(): Map<string, number>;
  readonly decoder: LibraryDecoder | null;
}

interface LibraryDecoder {
  decode_chain: (tokens: string[]) => string[];
  readonly decoders?: readonly LibraryDecoder[];
}

const library = tokenizers as unknown as {
  Tokenizer: new (tokenizer: object, config: object) => LibraryTokenizer;
  ByteFallbackDecoder: new (config: object) => LibraryDecoder;
};

function construct(raw: object, config: object, file: string): LibraryTokenizer {
  try {
    const tokenizer = new library.Tokenizer(raw, config);
    for (const part of decodersOf(tokenizer)) {
      if (part instanceof library.ByteFallbackDecoder) part.decode_chain = decodeByteFallback;
    }
    return tokenizer;
  } catch (error) {
    throw new CheckpointError(`${file}: cannot be used: ${(error as Error).message}`);
  }
}

function decodersOf({ decoder }: LibraryTokenizer): readonly (LibraryDecoder | null)[] {
  return decoder?.decoders ?? [decoder];
}

function largestId(tokenizer: LibraryTokenizer): number {
  let largest = -1;
  for (const id of tokenizer.get_vocab().values()) largest = Math.max(largest, id);
  return largest;
}
