/** The steps of a tokenizer.json put together. */
import { type Segment, splitterOf } from './added-tokens.js';
import { byteOf } from './byte-fallback.js';
import { decoder, fallsBack } from './decoders.js';
import { modelOf, type Tokenize } from './models.js';
import { normalizer } from './normalizers.js';
import { preTokenizer } from './pre-tokenizers.js';
import { around } from './special-tokens.js';
import type { DecodeOptions, EncodeOptions, TextTokenizer } from './tokenizer.js';
import type { TokenizerJson } from './tokenizer-json.js';

/** @throws Error (of any kind) for steps that cannot be taken */
export function pipeline(json: TokenizerJson, vocabulary: ReadonlyMap<string, number>): TextTokenizer {
  const ids = new Map(vocabulary);
  for (const { content, id } of json.added_tokens) ids.set(content, id);
  const tokens: string[] = [];
  for (const [token, id] of ids) tokens[id] = token;
  const special = new Set(json.added_tokens.filter((token) => token.special).map(({ id }) => id));
  const readsBytes = fallsBack(json.decoder);
  const encode = encoder(json, modelOf(json.model, vocabulary));
  const { before, after } = around(json.post_processor, (token) => ids.get(token));
  const decode = decoder(json.decoder);
  return {
    size: tokens.length,
    encode(text, { specialTokens = true }: EncodeOptions = {}) {
      const plain = encode(wellFormed(text));
      return specialTokens ? [...before, ...plain, ...after] : plain;
    },
    decode(list, { specialTokens = false }: DecodeOptions = {}) {
      const pieces: string[] = [];
      for (const id of list) {
        const token = tokens[id];
        if (token !== undefined && (specialTokens || !special.has(id))) pieces.push(token);
      }
      return pieces.length === 0 ? '' : decode(pieces).join('');
    },
    isByte: (id) => readsBytes && byteOf(tokens[id] ?? '') !== null,
    isSpecial: (id) => special.has(id),
    tokenOf: (id) => tokens[id] ?? null,
    idOf: (token) => ids.get(token) ?? null,
  };
}

/** Text -> ids, without those that a post-processor adds. Added tokens are looked for in the text first, then in what it is normalized to. */
function encoder(json: TokenizerJson, tokenize: Tokenize): (text: string) => number[] {
  const normalize = normalizer(json.normalizer);
  const preTokenize = preTokenizer(json.pre_tokenizer);
  const isNormalized = (token: TokenizerJson['added_tokens'][number]) => token.normalized ?? !token.special;
  const raw = splitterOf(
    json.added_tokens.filter((token) => !isNormalized(token)),
    (content) => content,
  );
  const normalized = splitterOf(json.added_tokens.filter(isNormalized), normalize);
  return (text) => {
    const ids: number[] = [];
    const visit = (segment: Segment, inner: (text: string, start: number) => void): void => {
      if ('token' in segment) ids.push(segment.token.id);
      else inner(segment.text, segment.start);
    };
    for (const outer of raw(text)) {
      visit(outer, (part, start) => {
        for (const segment of normalized(normalize(part))) {
          visit(segment, (rest, at) => {
            if (rest === '') return;
            for (const word of preTokenize([rest], start + at === 0)) tokenize(word, ids);
          });
        }
      });
    }
    return ids;
  };
}

/** Half of a surrogate pair is no character: it becomes U+FFFD, as whenever text is written as UTF-8. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\uFFFD');
}
