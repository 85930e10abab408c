/** The regular expressions of tokenizers, which are Oniguruma's, and what is split by them. */
import { library } from './library.js';
import type { Pattern, SplitBehavior } from './tokenizer-json.js';

/** A pattern as JavaScript's, to find all of its matches. @throws SyntaxError for what JavaScript cannot say */
export function patternOf(pattern: Pattern): RegExp {
  const source = 'Regex' in pattern ? { Regex: withUnicodeFolds(pattern.Regex) } : pattern;
  return new library.SplitPreTokenizer({ pattern: source }).pattern!;
}

/** The letters outside of ASCII that are, but for their case, letters of ASCII: the long s and the Kelvin sign. */
const FOLDS: Readonly<Record<string, string>> = { s: '\u017F', S: '\u017F', k: '\u212A', K: '\u212A' };

/** Adds those letters where case is ignored, `(?i:...)`: the library ignores the case of ASCII alone. */
function withUnicodeFolds(source: string): string {
  const groups: boolean[] = [];
  let [ignores, inClass, out] = [false, false, ''];
  for (const [part] of source.matchAll(/\\.|\(\?i:|[^\\]/gsu)) {
    const fold = ignores ? FOLDS[part] : undefined;
    if (inClass) inClass = part !== ']';
    else if (part === '[') inClass = true;
    else if (part.startsWith('(')) {
      groups.push(ignores);
      ignores ||= part === '(?i:';
    } else if (part === ')') ignores = groups.pop() ?? false;
    out += fold === undefined ? part : inClass ? `${fold}${part}` : `[${fold}${part}]`;
  }
  return out;
}

/** A text cut at all matches of a pattern, or `invert`ed at all that lies between them. No piece is empty. */
export function splitText(text: string, pattern: RegExp, behavior: SplitBehavior, invert = false): string[] {
  const cuts: Cut[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) cuts.push({ text: text.slice(end, match.index), matches: invert });
    if (match[0].length > 0) cuts.push({ text: match[0], matches: !invert });
    end = match.index + match[0].length;
  }
  if (end < text.length) cuts.push({ text: text.slice(end), matches: invert });
  return joined(cuts, behavior);
}

interface Cut {
  readonly text: string;
  readonly matches: boolean;
}

function joined(cuts: readonly Cut[], behavior: SplitBehavior): string[] {
  switch (behavior) {
    case 'Isolated':
      return cuts.map(({ text }) => text);
    case 'Removed':
      return cuts.filter(({ matches }) => !matches).map(({ text }) => text);
    case 'Contiguous':
      return merge(cuts, (cut, before) => cut.matches === before.matches);
    case 'MergedWithPrevious':
      return merge(cuts, (cut, before) => cut.matches && !before.matches);
    case 'MergedWithNext':
      // Of several matches in a row the last alone has something else after it.
      return merge(cuts, (cut, before) => before.matches && !cut.matches);
    default:
      return behavior satisfies never;
  }
}

/** Puts a cut to the piece before it where it belongs to the cut before it. */
function merge(cuts: readonly Cut[], belongs: (cut: Cut, before: Cut) => boolean): string[] {
  const pieces: string[] = [];
  cuts.forEach((cut, i) => {
    const before = cuts[i - 1];
    if (before && belongs(cut, before)) pieces.push(pieces.pop() + cut.text);
    else pieces.push(cut.text);
  });
  return pieces;
}
