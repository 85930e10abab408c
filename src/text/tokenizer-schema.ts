/** What a tokenizer.json must be before it is trusted: the library that runs it accepts much that the format forbids. */
import { z } from 'zod';
import { validate } from '../checkpoint/json-file.js';
import { CheckpointError } from '../errors.js';
import { checkAddedTokens, checkMerges, checkTemplates, type Fail, vocabularyOf } from './tokenizer-checks.js';
import type { TokenizerJson } from './tokenizer-json.js';

type Shape = Record<string, z.ZodType>;

const none: Shape = {};
const pattern = z.union([z.strictObject({ String: z.string() }), z.strictObject({ Regex: z.string() })]);
const behavior = z.enum(['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']);
const metaspace = {
  replacement: z.string().min(1).optional(),
  prepend_scheme: z.enum(['always', 'first', 'never']).optional(),
};
const id = z.int('expected a whole number').nonnegative('a token id cannot be negative');
const placed = z.tuple([z.string(), id]);
const piece = z.union([
  z.strictObject({ SpecialToken: z.looseObject({ id: z.string() }) }),
  z.strictObject({ Sequence: z.looseObject({ id: z.enum(['A', 'B']) }) }),
]);

/** The steps of each kind by type, with the members that they cannot do without. */
const NORMALIZERS = {
  BertNormalizer: none,
  Precompiled: { precompiled_charsmap: z.string().nullable() },
  Sequence: none,
  Replace: { pattern, content: z.string() },
  NFC: none,
  NFD: none,
  NFKC: none,
  NFKD: none,
  Strip: none,
  StripAccents: none,
  Lowercase: none,
  Prepend: { prepend: z.string() },
};
const PRE_TOKENIZERS = {
  BertPreTokenizer: none,
  Sequence: none,
  Whitespace: none,
  WhitespaceSplit: none,
  Metaspace: metaspace,
  ByteLevel: none,
  Split: { pattern, behavior },
  Punctuation: { behavior: behavior.optional() },
  Digits: none,
  FixedLength: { length: z.int().positive() },
};
const POST_PROCESSORS = {
  TemplateProcessing: {
    single: z.array(piece),
    pair: z.array(piece),
    special_tokens: z.record(z.string(), z.looseObject({ ids: z.array(id) })),
  },
  ByteLevel: none,
  BertProcessing: { sep: placed, cls: placed },
  RobertaProcessing: { sep: placed, cls: placed },
  Sequence: none,
};
const DECODERS = {
  ByteLevel: none,
  WordPiece: none,
  Metaspace: metaspace,
  BPEDecoder: none,
  Sequence: none,
  Replace: { pattern, content: z.string() },
  Fuse: none,
  Strip: { content: z.string().length(1), start: id, stop: id },
  ByteFallback: none,
};

/** A step of one of these types; a Sequence's members are steps too. */
function step(types: Readonly<Record<string, Shape>>, members: string) {
  const expected = `expected one of ${Object.keys(types).join(', ')}`;
  const single: z.ZodType = z.lazy(() => {
    const options = Object.entries(types).map(([type, shape]) => {
      const inner = type === 'Sequence' ? { [members]: z.array(single) } : shape;
      return z.looseObject({ type: z.literal(type), ...inner });
    });
    return z.discriminatedUnion('type', options as [(typeof options)[0]], expected);
  });
  return single.nullish();
}

// The entries of vocabularies and merges are checked by plain loops: a schema takes a second for 150,000 of each.
const bpe = z.looseObject({
  type: z.literal('BPE'),
  vocab: z.custom<object>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    'expected an object',
  ),
  merges: z.custom<unknown[]>(Array.isArray, 'expected a list'),
  continuing_subword_prefix: z.literal('', 'subword prefixes are not supported').nullish(),
  continuing_subword_suffix: z.literal('', 'subword suffixes are not supported').nullish(),
  dropout: z.literal(0, 'dropped merges are for training').nullish(),
  unk_token: z.string().nullish(),
});
const unigram = z.looseObject({
  type: z.literal('Unigram'),
  unk_id: id.nullish(),
  vocab: z.custom<unknown[]>(Array.isArray, 'expected a list'),
});
const addedToken = z.looseObject({ id, content: z.string() });

const schema = z.looseObject({
  added_tokens: z.array(addedToken).optional(),
  normalizer: step(NORMALIZERS, 'normalizers'),
  pre_tokenizer: step(PRE_TOKENIZERS, 'pretokenizers'),
  post_processor: step(POST_PROCESSORS, 'processors'),
  decoder: step(DECODERS, 'decoders'),
  model: z.discriminatedUnion('type', [bpe, unigram], 'type must be BPE or Unigram'),
});

/** A tokenizer.json that can be trusted, and the tokens of its model. */
export interface CheckedTokenizer {
  readonly json: TokenizerJson;
  readonly vocabulary: ReadonlyMap<string, number>;
}

/**
 * Checks a parsed tokenizer.json, and gives it with the members that old files leave out. It is the parsed object that is given
 * on, not the schema's copy of it.
 * @throws CheckpointError naming the file and the key, the merge or the token
 */
export function validateTokenizer(raw: unknown, file: string): CheckedTokenizer {
  const complete = withDefaults(raw);
  validate(schema, complete, file);
  const json = complete as TokenizerJson;
  const fail: Fail = (problem) => {
    throw new CheckpointError(`${file}: ${problem}`);
  };
  const vocabulary = vocabularyOf(json.model, fail);
  if (json.model.type === 'BPE') checkMerges(json.model.merges, vocabulary, fail);
  checkAddedTokens(json.added_tokens, vocabulary, fail);
  const added = new Map(json.added_tokens.map(({ id: place, content }) => [content, place]));
  checkTemplates(json.post_processor, (token) => added.get(token) ?? vocabulary.get(token), fail);
  return { json, vocabulary };
}

/** What old files leave out: empty steps, and the type of the model. */
function withDefaults(raw: unknown): unknown {
  if (typeof raw !== 'object' || raw === null) return raw;
  const empty = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  const { model } = raw as { model?: unknown };
  if (typeof model !== 'object' || model === null || 'type' in model) return { ...empty, ...raw };
  const type = 'merges' in model ? 'BPE' : 'Unigram';
  return { ...empty, ...raw, model: { type, ...model } };
}
