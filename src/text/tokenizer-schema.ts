/** What a tokenizer.json must be before it is trusted: the library that runs it accepts much that the format forbids. */
import { z } from 'zod';
import { validate } from '../checkpoint/json-file.js';
import { CheckpointError } from '../errors.js';

type Shape = Record<string, z.ZodType>;

const none: Shape = {};
const pattern = z.union([z.strictObject({ String: z.string() }), z.strictObject({ Regex: z.string() })]);
const behavior = z.enum(['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']);
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
  BertProcessing: { sep: placed, cls: placed },
  RobertaProcessing: { sep: placed, cls: placed },
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
  return single.nullish();
}

const bpe = z.looseObject({
  type: z.literal('BPE'),
  vocab: z.record(z.string(), id),
  merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
  continuing_subword_prefix: z.literal('', 'subword prefixes are not supported').nullish(),
});
const unigram = z.looseObject({
  type: z.literal('Unigram'),
  unk_id: id.nullish(),
  vocab: z.array(z.tuple([z.string(), z.number()])),
});
const addedToken = z.looseObject({
  id,
  content: z.string(),
  single_word: z.literal(false, 'added tokens that must be whole words are not supported').optional(),
});

const schema = z.looseObject({
  added_tokens: z.array(addedToken).optional(),
  normalizer: step(NORMALIZERS, 'normalizers'),
  pre_tokenizer: step(PRE_TOKENIZERS, 'pretokenizers'),
  post_processor: step(POST_PROCESSORS, 'processors'),
  decoder: step(DECODERS, 'decoders'),
  model: z.discriminatedUnion('type', [bpe, unigram], 'type must be BPE or Unigram'),
});

type TokenizerJson = z.output<typeof schema>;

/**
 * Checks a parsed tokenizer.json, and gives it with the members that the library wants. It is the parsed object that is given
 * on, not the schema's copy of it, which lacks a token named `__proto__`.
 * @throws CheckpointError naming the file and the key, the merge or the token
 */
export function validateTokenizer(raw: unknown, file: string): object {
  const complete = withDefaults(raw);
  const { model, added_tokens: added = [], post_processor: processor } = validate(schema, complete, file);
  const fail: Fail = (problem) => {
    throw new CheckpointError(`${file}: ${problem}`);
  };
  const stored = (complete as TokenizerJson).model;
  const vocabulary = new Map(
    stored.type === 'BPE' ? Object.entries(stored.vocab) : stored.vocab.map(([token], i) => [token, i] as const),
  );
  if (model.type === 'BPE') checkMerges(model.merges, vocabulary, fail);
  checkAddedTokens(added, vocabulary, fail);
  for (const { id: place, content } of added) vocabulary.set(content, place);
  checkTemplates(processor, vocabulary, fail);
  return complete as object;
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

type Fail = (problem: string) => never;
const show = JSON.stringify;

function checkMerges(
  merges: z.output<typeof bpe>['merges'],
  vocabulary: ReadonlyMap<string, number>,
  fail: Fail,
): void {
  merges.forEach((merge, i) => {
    const parts = typeof merge === 'string' ? merge.split(' ') : merge;
    if (parts.length !== 2) fail(`model.merges.${i} = ${show(merge)} does not name two tokens.`);
    const [left, right] = parts as [string, string];
    const missing = [left, right, left + right].find((token) => !vocabulary.has(token));
    if (missing !== undefined) {
      fail(`model.merges.${i} = ${show(merge)} needs the token ${show(missing)}, which model.vocab lacks.`);
    }
  });
}

function checkAddedTokens(
  added: readonly z.output<typeof addedToken>[],
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

interface Template {
  readonly processors?: readonly unknown[];
  readonly single?: readonly z.output<typeof piece>[];
  readonly pair?: readonly z.output<typeof piece>[];
  readonly special_tokens?: Readonly<Record<string, { readonly ids: readonly number[] }>>;
}

/** Special tokens that a template puts around a text must be tokens, and stand for themselves alone. */
function checkTemplates(processor: unknown, vocabulary: ReadonlyMap<string, number>, fail: Fail): void {
  const { processors = [], single = [], pair = [], special_tokens: ids = {} } = (processor ?? {}) as Template;
  for (const inner of processors) checkTemplates(inner, vocabulary, fail);
  for (const part of [...single, ...pair]) {
    if (!('SpecialToken' in part)) continue;
    const token = part.SpecialToken.id;
    const [own, given] = [vocabulary.get(token), ids[token]?.ids];
    if (own === undefined)
      fail(`the post_processor's template has the special token ${show(token)}, which is no token.`);
    if (given?.length !== 1 || given[0] !== own) {
      fail(`the post_processor gives ${show(token)} the ids ${show(given)}; only its own, [${own}], is supported.`);
    }
  }
}
