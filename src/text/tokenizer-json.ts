/** tokenizer.json as it is used, once `validateTokenizer` has let it pass: each step by its type, with what it cannot do without. */

export type Pattern = { readonly String: string } | { readonly Regex: string };

/** What becomes of the places where a text is split. */
export type SplitBehavior = 'Removed' | 'Isolated' | 'MergedWithPrevious' | 'MergedWithNext' | 'Contiguous';

export interface AddedTokenJson {
  readonly id: number;
  readonly content: string;
  /** Not found inside a word. */
  readonly single_word?: boolean;
  /** Takes the space before it. */
  readonly lstrip?: boolean;
  /** Takes the space after it. */
  readonly rstrip?: boolean;
  /** Looked for in the normalized text; by default unless it is special. */
  readonly normalized?: boolean;
  /** Left out of decoded text. */
  readonly special?: boolean;
}

export type NormalizerJson =
  | { readonly type: 'Sequence'; readonly normalizers: readonly NormalizerJson[] }
  | { readonly type: 'NFC' | 'NFD' | 'NFKC' | 'NFKD' | 'StripAccents' | 'Lowercase' | 'BertNormalizer' }
  | { readonly type: 'Replace'; readonly pattern: Pattern; readonly content: string }
  | { readonly type: 'Prepend'; readonly prepend: string }
  | { readonly type: 'Strip'; readonly strip_left?: boolean; readonly strip_right?: boolean }
  | { readonly type: 'Precompiled'; readonly precompiled_charsmap: string | null };

/** `add_prefix_space` is what older files have for a `prepend_scheme` of always and never. */
interface MetaspaceJson {
  readonly type: 'Metaspace';
  readonly replacement?: string;
  readonly str_rep?: string;
  readonly prepend_scheme?: 'always' | 'first' | 'never';
  readonly add_prefix_space?: boolean;
  readonly split?: boolean;
}

export type PreTokenizerJson =
  | { readonly type: 'Sequence'; readonly pretokenizers: readonly PreTokenizerJson[] }
  | { readonly type: 'ByteLevel'; readonly add_prefix_space?: boolean; readonly use_regex?: boolean }
  | MetaspaceJson
  | { readonly type: 'Split'; readonly pattern: Pattern; readonly behavior: SplitBehavior; readonly invert?: boolean }
  | { readonly type: 'Punctuation'; readonly behavior?: SplitBehavior }
  | { readonly type: 'Digits'; readonly individual_digits?: boolean }
  | { readonly type: 'FixedLength'; readonly length: number }
  | { readonly type: 'Whitespace' | 'WhitespaceSplit' | 'BertPreTokenizer' };

export type DecoderJson =
  | { readonly type: 'Sequence'; readonly decoders: readonly DecoderJson[] }
  | { readonly type: 'ByteLevel' | 'ByteFallback' | 'Fuse' }
  | MetaspaceJson
  | { readonly type: 'Replace'; readonly pattern: Pattern; readonly content: string }
  | { readonly type: 'Strip'; readonly content: string; readonly start: number; readonly stop: number }
  | { readonly type: 'BPEDecoder'; readonly suffix?: string }
  | { readonly type: 'WordPiece'; readonly prefix?: string; readonly cleanup?: boolean };

export interface BpeJson {
  readonly type: 'BPE';
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (string | readonly [string, string])[];
  readonly unk_token?: string | null;
  readonly fuse_unk?: boolean | null;
  readonly byte_fallback?: boolean | null;
  readonly ignore_merges?: boolean | null;
  readonly end_of_word_suffix?: string | null;
}

export interface UnigramJson {
  readonly type: 'Unigram';
  readonly vocab: readonly (readonly [token: string, score: number])[];
  readonly unk_id?: number | null;
  readonly byte_fallback?: boolean | null;
}

export interface TokenizerJson {
  readonly added_tokens: readonly AddedTokenJson[];
  readonly normalizer: NormalizerJson | null;
  readonly pre_tokenizer: PreTokenizerJson | null;
  readonly post_processor: object | null;
  readonly decoder: DecoderJson | null;
  readonly model: BpeJson | UnigramJson;
}
