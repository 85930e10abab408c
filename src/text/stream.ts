/** Text as it comes, token by token. */
import type { DecodeOptions, TextTokenizer } from './tokenizer.js';

/** Takes tokens or pieces of text and gives out text as soon as it is certain. */
export interface TextStream<Input> {
  push(input: Input): string;
  /** What was still held back. */
  end(): string;
}

/** Tokens that are decoded again with every new one: enough for decoders that look at a token's neighbours. */
const NEIGHBOURS = 4;

/**
 * Decodes tokens one at a time. A token may end inside a character: what cannot be certain yet is held back. What comes out,
 * put together, is the decoding of all tokens together, less what was certain of the prompt.
 * @param prompt tokens before the first one: they decide, for one thing, whether its leading space counts
 * @param options as for `decode`
 */
export function detokenizer(
  tokenizer: TextTokenizer,
  prompt: readonly number[] = [],
  options: DecodeOptions = {},
): TextStream<number> {
  const decode = (ids: readonly number[]): string => tokenizer.decode(ids, options);
  // A decoder never sees what is left out: bytes before and after a special token are one run.
  const leavesOut = (id: number): boolean =>
    tokenizer.tokenOf(id) === null || (!options.specialTokens && tokenizer.isSpecial(id));
  const lastWhole = (ids: readonly number[]): number[] => lastAnchored(ids, tokenizer, decode);
  let window = lastWhole(prompt.filter((id) => !leavesOut(id)));
  let given = certainLength(decode(window)); // how much of the window's text is out
  const take = (text: string, until: number): string => {
    const out = text.slice(given, until);
    given = Math.max(given, until);
    return out;
  };
  return {
    push(id) {
      if (leavesOut(id)) return '';
      window.push(id);
      if (tokenizer.isByte(id)) return ''; // a run of byte tokens is text, or is not, as a whole
      const text = decode(window);
      const certain = certainLength(text);
      const out = take(text, certain);
      if (certain === text.length && window.length > NEIGHBOURS) {
        window = lastWhole(window);
        given = decode(window).length;
      }
      return out;
    },
    end() {
      const text = decode(window);
      return take(text, text.length);
    },
  };
}

/** A character whose last bytes are still to come decodes to replacement characters at the end, until they do. */
function certainLength(text: string): number {
  return text.replace(/\uFFFD+$/, '').length;
}

/**
 * The last tokens, not cut inside a run of byte tokens, and as many as have some text that is certain: decoders treat the first token of a
 * text, or its leading space, otherwise than those after it; and a character that is cut at the start must not be taken for one at the end.
 */
function lastAnchored(
  ids: readonly number[],
  tokenizer: TextTokenizer,
  decode: (ids: readonly number[]) => string,
): number[] {
  let start = Math.max(ids.length - NEIGHBOURS, 0);
  while (start > 0 && (tokenizer.isByte(ids[start]!) || certainLength(decode(ids.slice(start))) === 0)) start--;
  return ids.slice(start);
}

/** Lets text through up to the first stop string, and holds back an end that may become one. */
export function stopFilter(stops: readonly string[]): TextStream<string> & { readonly hit: string | null } {
  let held = '';
  let hit: string | null = null;
  return {
    get hit() {
      return hit;
    },
    push(text) {
      if (hit !== null) return '';
      held += text;
      const first = stops
        .map((stop) => ({ stop, at: held.indexOf(stop) }))
        .filter(({ at }) => at >= 0)
        .sort((a, b) => a.at - b.at)[0];
      const cut = first ? first.at : held.length - longestBeginning(held, stops);
      if (first) hit = first.stop;
      const out = held.slice(0, cut);
      held = first ? '' : held.slice(cut);
      return out;
    },
    end() {
      const rest = held;
      held = '';
      return rest;
    },
  };
}

/** The length of the longest end of a text that is a proper beginning of a stop string. */
function longestBeginning(text: string, stops: readonly string[]): number {
  for (let length = text.length; length > 0; length--) {
    const end = text.slice(-length);
    if (stops.some((stop) => stop.length > length && stop.startsWith(end))) return length;
  }
  return 0;
}
