/** Dumps that are of other tokens. */

import { embed } from '../../model/embedding.js';
import type { Model } from '../../model/load.js';
import { forward } from '../../model/transformer.js';
import { type Floats, flat, rowsOf } from '../../tensor/tensor.js';
import type { Conclusion } from './diagnosis.js';
import { type Evidence, WITHIN } from './evidence.js';

/** The most multiplications that a search for tokens may take. */
const MOST_WORK = 4e9;

/**
 * Looks for the tokens whose embeddings theirs are; without embeddings, for the token whose logits their first wrong row is.
 * @param position the first one whose logits are wrong; null: none is
 * @returns null where no token explains it
 */
export async function otherTokens(
  model: Model,
  evidence: readonly Evidence[],
  ids: readonly number[],
  position: number | null,
): Promise<Extract<Conclusion, { kind: 'other tokens' }> | null> {
  const embeddings = evidence.find(({ name }) => name === 'embeddings');
  if (embeddings) return tokenByEmbedding(model, embeddings, ids);
  const logits = evidence.find(({ name }) => name === 'logits');
  return logits && position !== null ? tokenByLogits(model, logits, ids, position) : null;
}

function tokenByEmbedding(model: Model, embeddings: Evidence, ids: readonly number[]) {
  const { config, weights, options } = model;
  const all = Array.from({ length: config.vocabulary }, (_, id) => id);
  for (const [row, position] of embeddings.positions.entries()) {
    const at = new Int32Array(all.length).fill(position);
    const own = [ids[position]!];
    const right = flat(embed(own, at.subarray(0, 1), config.embedding, weights.embedding, options.precision));
    if (isRow(embeddings, row, right)) continue;
    const rows = embed(all, at, config.embedding, weights.embedding, options.precision);
    const found = all.find((id) => isRow(embeddings, row, flat(rowsOf(rows, id, id + 1))));
    return found === undefined ? null : otherAt(position, ids[position]!, found);
  }
  return null;
}

function otherAt(position: number, given: number, theirs: number) {
  return { kind: 'other tokens', position, given, theirs } as const;
}

/**
 * Every token in the place of the first wrong one, after those before it. One row may be alike by chance of a mistake, so the rows after it must
 * be those of some tokens too.
 */
async function tokenByLogits(model: Model, logits: Evidence, ids: readonly number[], position: number) {
  const found: number[] = [];
  const after = logits.positions.filter((other) => other >= position && other < position + ROWS);
  for (const at of after) {
    const id = await tokenAt(model, logits, [...ids.slice(0, position), ...found], ids, at);
    if (id === null) return null;
    found.push(id);
  }
  return found.length === 0 ? null : otherAt(position, ids[position]!, found[0]!);
}

/** Rows that must be explained by tokens. */
const ROWS = 3;

/** The token whose logits their row at a position is, after these tokens; null: none. The given one is tried first. */
async function tokenAt(model: Model, logits: Evidence, before: readonly number[], ids: readonly number[], at: number) {
  const row = logits.positions.indexOf(at);
  if (row < 0 || before.length !== at) return null;
  const stored = model.components.newCache();
  if (at > 0) await forward(model, [{ ids: before, cache: stored }]);
  for (const id of [ids[at]!, ...tokensToTry(model, ids, MOST_WORK / sizeOf(model))]) {
    const cache = stored.fork();
    const row_N = flat(await forward(model, [{ ids: [id], cache }]));
    cache.release();
    if (isRow(logits, row, row_N)) return id;
  }
  return null;
}

/** All tokens, or if these are too many, those that are likeliest: of the text itself, and the first and last ones. */
function tokensToTry({ config: { vocabulary } }: Model, ids: readonly number[], most: number): Iterable<number> {
  if (vocabulary <= most) return Array.from({ length: vocabulary }, (_, id) => id);
  const special = [0, 1, 2, 3, vocabulary - 2, vocabulary - 1];
  return [...new Set([...ids, ...special])].slice(0, Math.max(1, Math.floor(most)));
}

/** Multiplications a token. */
function sizeOf({ config: { layers, width, vocabulary } }: Model): number {
  return layers.length * 12 * width ** 2 + width * vocabulary;
}

/** Whether our row is theirs, as far as rounding allows. */
function isRow({ theirs, width, floorOf, saved }: Evidence, row: number, ours: Floats): boolean {
  const own = saved(ours);
  let squares = 0;
  for (let i = 0; i < width; i++) squares += (theirs[row * width + i]! - own[i]!) ** 2;
  return squares <= WITHIN ** 2 * floorOf(row) ** 2 * width;
}
