/** What a tokenizer.json must be before it is trusted: the library that runs it accepts much that the format forbids. */
import { z } from 'zod';
import { validate } from '../checkpoint/json-file.js';
import { CheckpointError } from '../errors.js';

type Shape = Record<string, z.ZodType>;

const none: Shape = {};
const pattern = z.union([z.strictObject({ String: z.string() }), z.strictObject({ Regex: z.string() })]);
const behavior = z.enum(['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']);
const id = z.int('expected a whole number').nonnegative('a token id cannot be negative');
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
  Metaspace: none,
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
  BertProcessing: none,
  RobertaProcessing: none,
  Sequence: none,
};
const DECODERS = {
  ByteLevel: none,
  WordPiece: none,
  Metaspace: none,
  BPEDecoder: none,
  CTC: none,
  Sequence: none,
  Replace: { pattern, content: z.string() },
  Fuse: none,
  Strip: { content: z.string(), start: id, stop: id },
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
  return single.nullable().default(null); // the library wants the key
}

const bpe = z.looseObject({
  type: z.literal('BPE'),
  vocab: z.record(z.string(), id),
  merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
});
const unigram = z.looseObject({
  type: z.literal('Unigram'),
  unk_id: id.nullish(),
  vocab: z.array(z.tuple([z.string(), z.number()])),
});

const schema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id, content: z.string() })).default([]),
  normalizer: step(NORMALIZERS, 'normalizers'),
  pre_tokenizer: step(PRE_TOKENIZERS, 'pretokenizers'),
  post_processor: step(POST_PROCESSORS, 'processors'),
  decoder: step(DECODERS, 'decoders'),
  model: z.discriminatedUnion('type', [bpe, unigram], 'type must be BPE or Unigram'),
});

export type TokenizerJson = z.output<typeof schema>;

/** @throws CheckpointError naming the file and the key, the merge or the token. */
export function validateTokenizer(raw: unknown, file: string): TokenizerJson {
  const tokenizer = validate(schema, raw, file);
  const fail: Fail = (problem) => {
    throw new CheckpointError(`${file}: ${problem}`);
  };
  const { model } = tokenizer;
  const vocabulary = new Map(
    model.type === 'BPE' ? Object.entries(model.vocab) : model.vocab.map(([token], i) => [token, i] as const),
  );
  if (model.type === 'BPE') checkMerges(model.merges, vocabulary, fail);
  checkAddedTokens(tokenizer.added_tokens, vocabulary, fail);
  const added = tokenizer.added_tokens.map(({ content }) => content);
  checkTemplates(tokenizer.post_processor, new Set([...vocabulary.keys(), ...added]), fail);
  return tokenizer;
}

type Fail = (problem: string) => never;
const show = JSON.stringify;

function checkMerges(
  merges: z.output<typeof bpe>['merges'],
  vocabulary: ReadonlyMap<string, number>,
  fail: Fail,
): void {
  merges.forEach((merge, i) => {
    const parts = typeof merge === 'string' ? merge.split(' ') : merge;
    const [left, right] = parts as [string, string];
    const needed = parts.length === 2 ? [left, right, left + right] : [String(merge)];
    const missing = needed.find((token) => !vocabulary.has(token));
    if (missing !== undefined || parts.length !== 2) {
      fail(`model.merges.${i} = ${show(merge)} needs the token ${show(missing)}, which model.vocab lacks.`);
    }
  });
}

function checkAddedTokens(
  added: TokenizerJson['added_tokens'],
  vocabulary: ReadonlyMap<string, number>,
  fail: Fail,
): void {
  const owners = new Map([...vocabulary].map(([token, place]) => [place, token]));
  for (const { id: place, content } of added) {
    const [own, owner] = [vocabulary.get(content) ?? place, owners.get(place) ?? content];
    if (own !== place) fail(`the added token ${show(content)} has id ${place}, and in model.vocab ${own}.`);
    if (owner !== content) fail(`the added token ${show(content)} has id ${place}, which is ${show(owner)} already.`);
    owners.set(place, content);
  }
}

/** Special tokens that a template puts around a text must be tokens. */
function checkTemplates(processor: unknown, tokens: ReadonlySet<string>, fail: Fail): void {
  const {
    processors = [],
    single = [],
    pair = [],
  } = (processor ?? {}) as {
    processors?: unknown[];
    single?: z.output<typeof piece>[];
    pair?: z.output<typeof piece>[];
  };
  for (const inner of processors) checkTemplates(inner, tokens, fail);
  for (const part of [...single, ...pair]) {
    if ('SpecialToken' in part && !tokens.has(part.SpecialToken.id)) {
      fail(`the post_processor's template has the special token ${show(part.SpecialToken.id)}, which is no token.`);
    }
  }
}
