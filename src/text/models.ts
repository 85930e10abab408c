/** A word -> its tokens. The library merges pairs and finds likely pieces; what becomes of characters without a token is decided here. */
import { RequestError } from '../errors.js';
import { library } from './library.js';
import type { BpeJson, TokenizerJson, UnigramJson } from './tokenizer-json.js';

/** Appends the ids of a word's tokens. */
export type Tokenize = (word: string, ids: number[]) => void;

type Vocabulary = ReadonlyMap<string, number>;

/** @param vocabulary the model's tokens and their ids */
export function modelOf(json: TokenizerJson['model'], vocabulary: Vocabulary): Tokenize {
  return json.type === 'BPE' ? bytePairs(json, vocabulary) : unigram(json, vocabulary);
}

/**
 * A character that is no token becomes its bytes' tokens, if all exist, or the unknown token (`fuse_unk`: one for a run of such characters in
 * a word), or nothing: then its neighbours are neighbours of each other.
 */
function bytePairs(json: BpeJson, vocabulary: Vocabulary): Tokenize {
  const { byte_fallback: fallsBack, fuse_unk: fuses, end_of_word_suffix: suffix } = json;
  const bpe = new library.BPE(json);
  const bytes = bytesOf(vocabulary);
  const unknown = json.unk_token == null ? undefined : vocabulary.get(json.unk_token);
  const drops = (char: string): boolean =>
    !vocabulary.has(char) && !(fallsBack && bytes(char)) && unknown === undefined;
  return (word, ids) => {
    const whole = json.ignore_merges ? vocabulary.get(word) : undefined;
    if (whole !== undefined) {
      ids.push(whole);
      return;
    }
    const kept =
      unknown === undefined && !suffix ? Array.from(word, (char) => (drops(char) ? '' : char)).join('') : word;
    let fused = false;
    for (const token of bpe.bpe(kept)) {
      const id = vocabulary.get(token);
      const fallback = id === undefined && fallsBack ? bytes(token) : null;
      if (id !== undefined) ids.push(id);
      else if (fallback) ids.push(...fallback);
      else if (unknown !== undefined && !(fused && fuses)) ids.push(unknown);
      fused = id === undefined && !fallback;
    }
  };
}

/** Pieces that are no token become the tokens of their bytes, or together the unknown one. */
function unigram(json: UnigramJson, vocabulary: Vocabulary): Tokenize {
  const model = new library.Unigram(json);
  const bytes = bytesOf(vocabulary);
  const unknown = json.unk_id ?? undefined;
  const strange = (text: string, ids: number[]): void => {
    const fallback = json.byte_fallback ? bytes(text) : null;
    if (!fallback && unknown === undefined) {
      throw new RequestError(`the tokenizer has no token for ${JSON.stringify(text)}, and no unknown token either.`);
    }
    ids.push(...(fallback ?? [unknown!]));
  };
  return (word, ids) => {
    let held = ''; // a run of pieces without a token
    for (const piece of model.tokenize(word)) {
      const id = vocabulary.get(piece);
      if (id === undefined || id === unknown) {
        held += piece;
        continue;
      }
      if (held !== '') strange(held, ids);
      held = '';
      ids.push(id);
    }
    if (held !== '') strange(held, ids);
  };
}

/** The tokens of a text's UTF-8 bytes, null if one is missing. */
function bytesOf(vocabulary: Vocabulary): (text: string) => number[] | null {
  const ids = Array.from({ length: 256 }, (_, byte) =>
    vocabulary.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  );
  return (text) => {
    const found = Array.from(new TextEncoder().encode(text), (byte) => ids[byte]);
    return found.includes(undefined) ? null : (found as number[]);
  };
}
