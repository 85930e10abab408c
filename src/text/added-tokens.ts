/** Tokens that are found in a text before it is split: special ones, and others that were added to a vocabulary. */
import type { AddedTokenJson } from './tokenizer-json.js';

/** A token that was found, or text between two, with its place in the text that was searched (UTF-16 units). */
export type Segment = { readonly token: AddedTokenJson } | { readonly text: string; readonly start: number };

interface Node {
  readonly next: Map<string, Node>;
  token?: AddedTokenJson;
}

const WORD_BEFORE = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const WORD_AFTER = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const SPACE_BEFORE = /\p{White_Space}*$/u;
const SPACE_AFTER = /^\p{White_Space}*/u;

/**
 * Finds tokens from left to right, of several that begin at one place the longest.
 * @param written what is looked for: a token's content, or what normalization makes of it
 */
export function splitterOf(
  tokens: readonly AddedTokenJson[],
  written: (content: string) => string,
): (text: string) => Segment[] {
  const root: Node = { next: new Map() };
  for (const token of tokens) {
    const content = written(token.content);
    if (content !== '') place(root, content, token);
  }
  if (root.next.size === 0) return (text) => [{ text, start: 0 }];
  return (text) => segments(root, text);
}

function place(root: Node, content: string, token: AddedTokenJson): void {
  let node = root;
  for (let i = 0; i < content.length; i++) {
    const unit = content[i]!;
    const next: Node = node.next.get(unit) ?? { next: new Map() };
    node.next.set(unit, next);
    node = next;
  }
  node.token ??= token;
}

function segments(root: Node, text: string): Segment[] {
  const found: Segment[] = [];
  let given = 0; // how far the text is in `found`
  const rest = (until: number): void => {
    if (given < until) found.push({ text: text.slice(given, until), start: given });
  };
  for (let at = 0; at < text.length; ) {
    const match = longest(root, text, at);
    if (match === null) {
      at++;
      continue;
    }
    const { token, end } = match;
    if (!token.single_word || standsAlone(text, at, end)) {
      const start = token.lstrip ? Math.max(at - lengthOf(SPACE_BEFORE, text.slice(given, at)), given) : at;
      rest(start);
      found.push({ token });
      given = token.rstrip ? end + lengthOf(SPACE_AFTER, text.slice(end)) : end;
    }
    at = end; // tokens among the space that was taken are found all the same, as in the native library
  }
  rest(text.length);
  return found;
}

function longest(root: Node, text: string, start: number): { token: AddedTokenJson; end: number } | null {
  let found: { token: AddedTokenJson; end: number } | null = null;
  let node = root.next.get(text[start]!);
  for (let end = start + 1; node; end++) {
    if (node.token) found = { token: node.token, end };
    node = node.next.get(text[end] ?? '');
  }
  return found;
}

function standsAlone(text: string, start: number, end: number): boolean {
  return !WORD_BEFORE.test(text.slice(Math.max(start - 2, 0), start)) && !WORD_AFTER.test(text.slice(end, end + 2));
}

function lengthOf(pattern: RegExp, text: string): number {
  return pattern.exec(text)![0].length;
}
