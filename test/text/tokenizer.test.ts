import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { copyOf, editJson } from '../support/checkpoint.js';
import { fixture, readGolden } from '../support/fixtures.js';

const tokenizer = loadTokenizer(fixture('austen-llama'), 1024)!;

describe('the tokenizer', () => {
  it('gives the ids that Hugging Face gives, with the begin-of-text token', () => {
    const { prompt, text } = JSON.parse(readFileSync(fixture('austen-llama/golden.json'), 'utf8'));
    const { inputIds, generatedIds } = readGolden('austen-llama');
    expect(tokenizer.encode(prompt)).toEqual(inputIds);
    expect(tokenizer.decode([...inputIds, ...generatedIds])).toBe(text);
  });

  test.prop([fc.string({ unit: 'binary' })])('decodes what it encodes', (text) => {
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  it('decodes nothing, special tokens, and ids without a token', () => {
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.decode([0, 1])).toBe('');
    expect(tokenizer.decode([99_999])).toBe('');
  });

  it('is null where there is no tokenizer.json', () => {
    expect(loadTokenizer(fixture('tiny-llama-linear-bf16'), 256)).toBeNull();
  });
});

describe('tokenizer.json', () => {
  type Json = Record<string, unknown>;
  const refusal = (change: (value: Json) => Json, vocabulary = 1024): string => {
    const folder = copyOf('austen-llama');
    editJson(join(folder, 'tokenizer.json'), change);
    try {
      loadTokenizer(folder, vocabulary);
    } catch (error) {
      expect(error).toBeInstanceOf(CheckpointError);
      expect((error as Error).message).toContain(join(folder, 'tokenizer.json'));
      return (error as Error).message;
    }
    throw new Error('expected the tokenizer to be refused');
  };
  const model = (value: Json) => value.model as { vocab: Record<string, number>; merges: unknown[] };

  it.each<[what: string, change: (value: Json) => Json, message: string]>([
    [
      'a merge of three',
      (value) => ({ ...value, model: { ...model(value), merges: ['a b c'] } }),
      'model.merges.0 = "a b c" does not name two tokens',
    ],
    [
      'a negative id',
      (value) => ({ ...value, model: { ...model(value), vocab: { ...model(value).vocab, x: -1 } } }),
      'the key model.vocab.x = -1 is not valid',
    ],
    [
      'a split without a pattern',
      (value) => ({ ...value, pre_tokenizer: { type: 'Split', behavior: 'Isolated' } }),
      'the key pre_tokenizer.pattern',
    ],
    [
      'a split of unknown behaviour',
      (value) => ({ ...value, pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'Foo' } }),
      'the key pre_tokenizer.behavior = "Foo" is not valid',
    ],
    [
      'a template that is none',
      (value) => ({
        ...value,
        post_processor: { type: 'TemplateProcessing', single: 5, pair: [], special_tokens: {} },
      }),
      'the key post_processor.single = 5 is not valid',
    ],
    [
      'a template of a missing token',
      (value) => ({
        ...value,
        post_processor: {
          type: 'TemplateProcessing',
          single: [{ SpecialToken: { id: '<x>' } }],
          pair: [],
          special_tokens: {},
        },
      }),
      'the special token "<x>", which is no token',
    ],
    [
      'BERT processing without its tokens',
      (value) => ({ ...value, post_processor: { type: 'BertProcessing' } }),
      'the key post_processor.sep is missing',
    ],
    [
      'a template that gives a token other ids',
      (value) => ({
        ...value,
        post_processor: {
          type: 'TemplateProcessing',
          single: [{ SpecialToken: { id: '<|begin_of_text|>' } }],
          pair: [],
          special_tokens: { '<|begin_of_text|>': { ids: [5] } },
        },
      }),
      'the ids [5]; only its own, [0], is supported',
    ],
    [
      'a decoder of speech',
      (value) => ({ ...value, decoder: { type: 'CTC' } }),
      'the key decoder.type = "CTC" is not valid',
    ],
    [
      'a pattern that cannot be said in JavaScript',
      (value) => ({
        ...value,
        pre_tokenizer: { type: 'Split', pattern: { Regex: '(?x) a' }, behavior: 'Isolated' },
      }),
      'cannot be used: Invalid regular expression',
    ],
    [
      'a vocabulary that is a list',
      (value) => ({ ...value, model: { ...model(value), vocab: ['a'] } }),
      'the key model.vocab = ["a"] is not valid: expected an object',
    ],
    [
      'an empty vocabulary',
      (value) => ({ ...value, added_tokens: [], model: { ...model(value), vocab: {}, merges: [] } }),
      'the key model.vocab has no tokens',
    ],
    [
      'an id that is no number',
      (value) => ({ ...value, model: { ...model(value), vocab: { ...model(value).vocab, x: '5' } } }),
      'the key model.vocab.x = "5" is not valid: expected a whole number',
    ],
    [
      'a piece without a score',
      (value) => ({ ...value, added_tokens: [], model: { type: 'Unigram', vocab: [['a', 0], ['b']] } }),
      'the key model.vocab.1 = ["b"] is not valid: expected a token and its score',
    ],
    [
      'a template with the text twice',
      (value) => ({
        ...value,
        post_processor: {
          type: 'TemplateProcessing',
          single: [{ Sequence: { id: 'A' } }, { Sequence: { id: 'A' } }],
          pair: [],
          special_tokens: {},
        },
      }),
      'has the text of a single sequence not once',
    ],
    [
      'subword prefixes',
      (value) => ({ ...value, model: { ...model(value), continuing_subword_prefix: '##' } }),
      'subword prefixes are not supported',
    ],
    [
      'an added token in the place of another',
      (value) => ({ ...value, added_tokens: [{ id: 300, content: '<x>' }] }),
      'the added token "<x>" has id 300, which is',
    ],
    [
      'an added token that has another id',
      (value) => ({ ...value, added_tokens: [{ id: 5, content: '<|begin_of_text|>' }] }),
      'has id 5, and in model.vocab 0',
    ],
    ['no model', ({ model: _, ...value }) => value, 'the key model is missing'],
  ])('is refused with %s', (_, change, message) => {
    expect(refusal(change)).toContain(message);
  });

  it('may lack the type of its model, and may have a token named __proto__', () => {
    const folder = copyOf('austen-llama');
    const file = join(folder, 'tokenizer.json');
    const {
      model: { type: _, ...untyped },
      ...rest
    } = JSON.parse(readFileSync(file, 'utf8'));
    const vocab = JSON.stringify(untyped.vocab).replace(/}$/, ',"__proto__":1024}');
    writeFileSync(
      file,
      JSON.stringify({ ...rest, model: { ...untyped, vocab: 0 } }).replace('"vocab":0', `"vocab":${vocab}`),
    );
    const found = loadTokenizer(folder, 1025)!;
    expect(found.size).toBe(1025);
    expect(found.decode([1024])).toBe('__proto__');
    expect(found.encode('It was')).toEqual(tokenizer.encode('It was'));
  });

  it('names tokenizer_config.json where that is wrong', () => {
    const folder = copyOf('austen-llama');
    writeFileSync(join(folder, 'tokenizer_config.json'), '[]');
    expect(() => loadTokenizer(folder, 1024)).toThrow(/tokenizer_config\.json: the file = \[\] is not valid/);
  });
});
