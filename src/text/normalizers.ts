/** What is done to a text before it is split, step by step as the native `tokenizers` does it. */
import { precompiled } from './charsmap.js';
import { library } from './library.js';
import { patternOf } from './patterns.js';
import type { NormalizerJson } from './tokenizer-json.js';

export type Normalize = (text: string) => string;

/** @throws SyntaxError for a pattern that JavaScript cannot say, RangeError for a broken map of characters */
export function normalizer(json: NormalizerJson | null): Normalize {
  if (json === null) return (text) => text;
  switch (json.type) {
    case 'Sequence': {
      const steps = json.normalizers.map(normalizer);
      return (text) => steps.reduce((done, step) => step(done), text);
    }
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return (text) => text.normalize(json.type);
    case 'Lowercase': // letter by letter: a sigma at the end of a word is one like any other
      return (text) => Array.from(text, (char) => char.toLowerCase()).join('');
    case 'StripAccents':
      return (text) => text.replace(/\p{M}/gu, '');
    case 'Prepend':
      return (text) => (text === '' ? '' : json.prepend + text);
    case 'Replace': {
      const pattern = patternOf(json.pattern);
      return (text) => text.replace(pattern, () => json.content);
    }
    case 'Strip':
      return strip(json.strip_left ?? false, json.strip_right ?? false);
    case 'Precompiled':
      return json.precompiled_charsmap ? precompiled(json.precompiled_charsmap) : (text) => text;
    case 'BertNormalizer': {
      const bert = new library.BertNormalizer(json);
      return (text) => bert.normalize(text);
    }
    default:
      return json satisfies never;
  }
}

/** Unicode's white space, which `trim` takes for something else: U+FEFF is none, U+0085 is. */
function strip(left: boolean, right: boolean): Normalize {
  const [start, end] = [/^\p{White_Space}+/u, /\p{White_Space}+$/u];
  return (text) => {
    const rest = left ? text.replace(start, '') : text;
    return right ? rest.replace(end, '') : rest;
  };
}
