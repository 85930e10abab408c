import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { loadTokenizer, type TextTokenizer } from '../../src/text/tokenizer.js';
import { fixture } from './fixtures.js';

const FOLDER = fixture('tokenizers');
/** Longer lists of ids, and longer texts, are recorded as hashes. */
const [MOST_IDS, MOST_TEXT] = [8, 20];

/** A folder for each form of tokenizer, with what the native `tokenizers` makes of the texts. */
export const KINDS = readdirSync(FOLDER).filter((name) => existsSync(join(FOLDER, name, 'tokenizer.json')));

export const CORPUS = readJson<string[]>('corpus.json');

export function tokenizerOf(kind: string): TextTokenizer {
  return loadTokenizer(join(FOLDER, kind), Number.MAX_SAFE_INTEGER)!;
}

type Short = string | { readonly sha256: string };

interface Decoded {
  readonly before: number[];
  readonly after: number[];
  readonly opening: string;
  readonly prefix: string;
  readonly suffix: string;
  readonly skipped: Readonly<Record<number, Short>>;
  readonly kept: Readonly<Record<number, Short>>;
  readonly tokens_skipped: readonly Short[];
  readonly tokens_kept: Readonly<Record<number, Short>>;
}

/** What `fixtures/generate/tokenizer_records.py` wrote about a kind. */
export interface Recorded {
  readonly decoded: Decoded;
  /** For each text its ids, or the beginning of their hash. */
  readonly ids: readonly (readonly number[] | string)[];
  /** Random tokens. */
  readonly tokens: readonly (readonly number[])[];
}

export function recordedOf(kind: string): Recorded {
  return withSafetensors(join(FOLDER, kind, 'encoded.safetensors'), (file) => {
    const [ids, lengths, tokens, tokenLengths] = ['ids', 'lengths', 'tokens', 'token_lengths'].map(
      (name) => new Uint16Array(file.read(name)),
    ) as [Uint16Array, Uint16Array, Uint16Array, Uint16Array];
    const stored = cut(
      ids,
      lengths.map((length) => (length > MOST_IDS ? 4 : length)),
    );
    return {
      decoded: readJson<Decoded>(join(kind, 'decoded.json')),
      ids: stored.map((list, i) => (lengths[i]! > MOST_IDS ? hex(list) : [...list])),
      tokens: cut(tokens, tokenLengths).map((list) => [...list]),
    };
  });
}

/** One thing that touchstone and the native library make something else of. */
export interface Difference {
  readonly what: 'encode' | 'encode without special tokens' | 'decode' | 'decode with special tokens' | 'decode tokens';
  readonly input: string | readonly number[];
  readonly expected: unknown;
  readonly got: unknown;
}

/** Every difference to what is recorded, in encoding and in decoding. */
export function differences(tokenizer: TextTokenizer, { decoded, ids, tokens }: Recorded): Difference[] {
  const found: Difference[] = [];
  const hold = (what: Difference['what'], input: Difference['input'], expected: unknown, got: unknown): void => {
    if (JSON.stringify(expected) !== JSON.stringify(got)) found.push({ what, input, expected, got });
  };
  const text = (what: Difference['what'], input: Difference['input'], expected: Short, got: string): void =>
    hold(what, input, expected, typeof expected === 'string' ? got : short(got));
  CORPUS.forEach((input, i) => {
    const got = tokenizer.encode(input);
    hold('encode', input, ids[i], got.length > MOST_IDS ? hex(Uint16Array.from(got)).slice(0, 16) : got);
    const plain = tokenizer.encode(input, { specialTokens: false });
    hold('encode without special tokens', input, got, [...decoded.before, ...plain, ...decoded.after]);
    const skipped = tokenizer.decode(got);
    text('decode', input, decoded.skipped[i] ?? decoded.opening + input, skipped);
    const bare = skipped.startsWith(decoded.opening) ? skipped.slice(decoded.opening.length) : skipped;
    const kept = decoded.kept[i] ?? decoded.prefix + bare + decoded.suffix;
    text('decode with special tokens', input, kept, tokenizer.decode(got, { specialTokens: true }));
  });
  tokens.forEach((input, i) => {
    const skipped = tokenizer.decode(input);
    text('decode tokens', input, decoded.tokens_skipped[i]!, skipped);
    text('decode tokens', input, decoded.tokens_kept[i] ?? skipped, tokenizer.decode(input, { specialTokens: true }));
  });
  return found;
}

/** A list of at most MOST_IDS ids fills its own places; a longer one gives its hash, the first 8 bytes of sha256. */
function hex(list: Uint16Array): string {
  const bytes = Buffer.from(list.buffer, list.byteOffset, list.byteLength);
  return list.length === 4 ? bytes.toString('hex') : createHash('sha256').update(bytes).digest('hex');
}

function short(text: string): Short {
  if ([...text].length <= MOST_TEXT) return text;
  return { sha256: createHash('sha256').update(text).digest('hex').slice(0, 16) };
}

function cut(list: Uint16Array, lengths: Uint16Array): Uint16Array[] {
  let at = 0;
  return Array.from(lengths, (length) => {
    at += length;
    return list.slice(at - length, at);
  });
}

function readJson<Value>(name: string): Value {
  return JSON.parse(readFileSync(join(FOLDER, name), 'utf8')) as Value;
}
