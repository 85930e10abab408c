/**
 * What is used of `@huggingface/tokenizers`: the translation of regular expressions, byte-pair merges, the Viterbi search of Unigram, and the
 * templates of special tokens. Its own types do not resolve under Node's module rules, so they would all be `any`.
 *
 * The other steps are those of this folder, since the library's differ from the native `tokenizers`, which models were trained with; `test/text/tokenizers.test.ts`
 * holds the whole against it.
 */
import * as tokenizers from '@huggingface/tokenizers';

interface Library {
  readonly SplitPreTokenizer: new (config: object) => { readonly pattern: RegExp | null };
  /** `bpe`: a word -> its tokens, which need not be in the vocabulary if they are characters. */
  readonly BPE: new (
    config: object,
  ) => { bpe(word: string): string[] };
  /** `tokenize`: a text -> its most likely pieces. */
  readonly Unigram: new (
    config: object,
    endOfText?: string,
  ) => { tokenize(text: string): string[] };
  readonly BertNormalizer: new (config: object) => { normalize(text: string): string };
  readonly WordPieceDecoder: new (config: object) => { decode_chain(tokens: string[]): string[] };
  readonly TemplateProcessingPostProcessor: PostProcessor;
  readonly ByteLevelPostProcessor: PostProcessor;
  readonly BertProcessingPostProcessor: PostProcessor;
  readonly RobertaProcessingPostProcessor: PostProcessor;
  readonly SequencePostProcessor: PostProcessor;
}

type PostProcessor = new (
  config: object,
) => { post_process(tokens: string[], pair: null, specialTokens: boolean): { readonly tokens: string[] } };

export const library = tokenizers as unknown as Library;
