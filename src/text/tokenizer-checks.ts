/** What the parts of a tokenizer.json must have to do with each other. */
import type { AddedTokenJson, BpeJson, TokenizerJson } from './tokenizer-json.js';

/** Throws with the file's name and the problem. */
export type Fail = (problem: string) => never;

type Vocabulary = ReadonlyMap<string, number>;
const show = JSON.stringify;

/** Token -> id. Ids are whole numbers, each of one token. */
export function vocabularyOf(model: TokenizerJson['model'], fail: Fail): Vocabulary {
  if (model.type === 'Unigram') return piecesOf(model.vocab, fail);
  const found = new Map<string, number>();
  for (const [token, id] of Object.entries<unknown>(model.vocab)) {
    if (typeof id !== 'number' || !Number.isInteger(id)) {
      fail(`the key model.vocab.${token} = ${show(id)} is not valid: expected a whole number.`);
    }
    if (id < 0) fail(`the key model.vocab.${token} = ${show(id)} is not valid: a token id cannot be negative.`);
    found.set(token, id);
  }
  if (found.size === 0) fail('the key model.vocab has no tokens.');
  return found;
}

/** A Unigram model's pieces; their ids are their places. */
function piecesOf(pieces: readonly unknown[], fail: Fail): Vocabulary {
  const found = new Map<string, number>();
  pieces.forEach((entry, id) => {
    const [piece, score] = Array.isArray(entry) ? entry : [];
    if (typeof piece !== 'string' || typeof score !== 'number') {
      fail(`the key model.vocab.${id} = ${show(entry)} is not valid: expected a token and its score.`);
    }
    found.set(piece, id);
  });
  if (found.size === 0) fail('the key model.vocab has no tokens.');
  return found;
}

/** A merge of two tokens makes one: all three are in the vocabulary. */
export function checkMerges(merges: BpeJson['merges'], vocabulary: Vocabulary, fail: Fail): void {
  merges.forEach((merge: unknown, i) => {
    const parts: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(parts) || parts.length !== 2 || typeof parts[0] !== 'string' || typeof parts[1] !== 'string') {
      fail(`model.merges.${i} = ${show(merge)} does not name two tokens.`);
    }
    const [left, right] = parts as [string, string];
    if (vocabulary.has(left) && vocabulary.has(right) && vocabulary.has(left + right)) return;
    const missing = [left, right, left + right].find((token) => !vocabulary.has(token));
    fail(`model.merges.${i} = ${show(merge)} needs the token ${show(missing)}, which model.vocab lacks.`);
  });
}

export function checkAddedTokens(added: readonly AddedTokenJson[], vocabulary: Vocabulary, fail: Fail): void {
  const owners = new Map<number, string>();
  for (const [token, place] of vocabulary) owners.set(place, token);
  for (const { id: place, content } of added) {
    const [own, owner] = [vocabulary.get(content) ?? place, owners.get(place) ?? content];
    if (own !== place) fail(`the added token ${show(content)} has id ${place}, and in model.vocab ${own}.`);
    if (owner !== content) fail(`the added token ${show(content)} has id ${place}, which is ${show(owner)} already.`);
    owners.set(place, content);
  }
}

type TemplatePiece = { readonly SpecialToken: { readonly id: string } } | { readonly Sequence: unknown };

interface Template {
  readonly processors?: readonly unknown[];
  readonly single?: readonly TemplatePiece[];
  readonly pair?: readonly TemplatePiece[];
  readonly special_tokens?: Readonly<Record<string, { readonly ids: readonly number[] }>>;
}

/** Special tokens that a template puts around a text must be tokens, and stand for themselves alone. */
export function checkTemplates(processor: unknown, idOf: (token: string) => number | undefined, fail: Fail): void {
  const { processors = [], single = [], pair = [], special_tokens: ids = {} } = (processor ?? {}) as Template;
  for (const inner of processors) checkTemplates(inner, idOf, fail);
  for (const part of [...single, ...pair]) {
    if (!('SpecialToken' in part)) continue;
    const token = part.SpecialToken.id;
    const [own, given] = [idOf(token), ids[token]?.ids];
    if (own === undefined) {
      fail(`the post_processor's template has the special token ${show(token)}, which is no token.`);
    }
    if (given?.length !== 1 || given[0] !== own) {
      fail(`the post_processor gives ${show(token)} the ids ${show(given)}; only its own, [${own}], is supported.`);
    }
  }
}
