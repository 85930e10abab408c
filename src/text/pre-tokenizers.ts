/** How a text is cut into words, between which no token lies, step by step as the native `tokenizers` does it. */
import { toLetters } from './byte-level.js';
import { patternOf, splitText } from './patterns.js';
import type { PreTokenizerJson, SplitBehavior } from './tokenizer-json.js';

/** Words -> shorter words. `opens`: whether the first of them is where the whole text begins. */
export type PreTokenize = (words: readonly string[], opens: boolean) => readonly string[];

const GPT2 =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]';
const WORDS = new RegExp(`${WORD}+|(?:(?!${WORD})\\P{White_Space})+`, 'gu');
const PUNCTUATION = /[\p{P}$+<=>^`|~]/gu;
const SPACE = /\p{White_Space}/gu;

/** @throws SyntaxError for a pattern that JavaScript cannot say */
export function preTokenizer(json: PreTokenizerJson | null): PreTokenize {
  if (json === null) return (words) => words;
  switch (json.type) {
    case 'Sequence': {
      const steps = json.pretokenizers.map(preTokenizer);
      return (words, opens) => steps.reduce((done, step) => step(done, opens), words);
    }
    case 'ByteLevel':
      return byteLevel(json);
    case 'Metaspace':
      return metaspace(json);
    case 'Split':
      return splitting(patternOf(json.pattern), json.behavior, json.invert);
    case 'Punctuation':
      return splitting(PUNCTUATION, json.behavior ?? 'Isolated');
    case 'Digits':
      return splitting(/\p{N}/gu, json.individual_digits ? 'Isolated' : 'Contiguous');
    case 'FixedLength':
      return splitting(new RegExp(`.{1,${json.length}}`, 'gsu'), 'Isolated');
    case 'Whitespace':
      return splitting(WORDS, 'Removed', true);
    case 'WhitespaceSplit':
      return splitting(SPACE, 'Removed');
    case 'BertPreTokenizer': {
      const [spaces, marks] = [splitting(SPACE, 'Removed'), splitting(PUNCTUATION, 'Isolated')];
      return (words, opens) => marks(spaces(words, opens), opens);
    }
    default:
      return json satisfies never;
  }
}

function splitting(pattern: RegExp, behavior: SplitBehavior, invert?: boolean): PreTokenize {
  return (words) => words.flatMap((word) => splitText(word, pattern, behavior, invert));
}

function byteLevel(json: PreTokenizerJson & { type: 'ByteLevel' }): PreTokenize {
  const { add_prefix_space: prefixed = true, use_regex: splits = true } = json;
  return (words) =>
    words.flatMap((word) => {
      const text = prefixed && !word.startsWith(' ') ? ` ${word}` : word;
      return splits ? splitText(text, GPT2, 'Isolated').map(toLetters) : toLetters(text);
    });
}

function metaspace(json: PreTokenizerJson & { type: 'Metaspace' }): PreTokenize {
  const mark = json.replacement ?? '▁';
  const scheme = json.prepend_scheme ?? (json.add_prefix_space === false ? 'never' : 'always');
  const marks = patternOf({ String: mark });
  return (words, opens) =>
    words.flatMap((word, i) => {
      const text = word.replaceAll(' ', json.str_rep ?? mark);
      const prepends = scheme === 'always' || (scheme === 'first' && opens && i === 0);
      const whole = prepends && !text.startsWith(mark) ? (json.str_rep ?? mark) + text : text;
      return (json.split ?? true) ? splitText(whole, marks, 'MergedWithNext') : whole;
    });
}
