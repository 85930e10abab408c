/** What a tokenizer.json must be before it is trusted: the library that runs it accepts much that the format forbids. */
import { z } from 'zod';
import { validate } from '../checkpoint/json-file.js';
import { CheckpointError } from '../errors.js';

const NORMALIZERS = [
  'BertNormalizer', 'Precompiled', 'Sequence', 'Replace', 'NFC', 'NFD', 'NFKC', 'NFKD', 'Strip', 'StripAccents', 'Lowercase', 'Prepend',
] as const; // biome-ignore format: a table
const PRE_TOKENIZERS = [
  'BertPreTokenizer', 'Sequence', 'Whitespace', 'WhitespaceSplit', 'Metaspace', 'ByteLevel', 'Split', 'Punctuation', 'Digits', 'FixedLength',
] as const; // biome-ignore format: a table
const POST_PROCESSORS = ['TemplateProcessing', 'ByteLevel', 'BertProcessing', 'RobertaProcessing', 'Sequence'] as const;
const DECODERS = [
  'ByteLevel', 'WordPiece', 'Metaspace', 'BPEDecoder', 'CTC', 'Sequence', 'Replace', 'Fuse', 'Strip', 'ByteFallback',
] as const; // biome-ignore format: a table

/** A step by its type; a Sequence's members are steps too. */
function step(types: readonly string[], members: string) {
  const type = z.enum(types as [string, ...string[]], `expected one of ${types.join(', ')}`);
  const single: z.ZodType = z.lazy(() => z.looseObject({ type, [members]: z.array(single).optional() }));
  return single.nullish();
}

const id = z.int('expected a whole number').nonnegative('a token id cannot be negative');

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
  if (tokenizer.model.type === 'BPE') checkMerges(tokenizer.model, file);
  return tokenizer;
}

function checkMerges({ vocab, merges }: z.output<typeof bpe>, file: string): void {
  const known = new Map(Object.entries(vocab));
  merges.forEach((merge, i) => {
    const parts = typeof merge === 'string' ? merge.split(' ') : merge;
    const [left, right] = parts as [string, string];
    const missing = parts.length !== 2 ? String(merge) : [left, right, left + right].find((token) => !known.has(token));
    if (missing !== undefined) {
      throw new CheckpointError(
        `${file}: model.merges.${i} = ${JSON.stringify(merge)} needs the token ${JSON.stringify(missing)}, which model.vocab lacks.`,
      );
    }
  });
}
