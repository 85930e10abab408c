/** Puts their tensors into our pass, which goes on from there. */

import { UsageError } from '../../errors.js';
import { type Floats, flat, type Tensor, zerosLike } from '../../tensor/tensor.js';
import { nearestOf } from '../dump/canonical.js';
import type { Dump } from '../dump/dump.js';
import { isScores } from '../trace/format.js';
import type { Splice } from '../trace/run.js';
import { sizeOfShape } from './align.js';
import { Comparer, type Named } from './comparer.js';
import { type Comparison, type TensorComparison, worstOf } from './comparison.js';
import { inFlow } from './names.js';
import type { Reference } from './reference.js';
import { partingsOf } from './tensors.js';

/**
 * The tensors of theirs that a pass can go on with.
 * @param named theirs @param tensors what came of them: a name that means several things is settled there
 */
export function spliceable(named: readonly Named[], tensors: readonly TensorComparison[]): Named[] {
  const had = new Set(tensors.map(({ name }) => name));
  const whole = (name: string) =>
    // Experts without their weights, or the other way round, would be weighed by those of others.
    !/\.router\.(experts|weights)$/.test(name) ||
    ['experts', 'weights'].every((part) => had.has(name.replace(/(experts|weights)$/, part)));
  return tensors
    .filter(({ name, problem }) => problem === null && !isScores(name) && whole(name))
    .map(({ name, theirName }) => {
      const own = named.find((one) => one.tensor.name === theirName && [one.name, ...one.alternatives].includes(name))!;
      return { ...own, name };
    });
}

/** @param reference a run of the same tokens without splices, which tells layouts */
export function splicing(theirs: Dump, reference: Reference, spliced: readonly Named[]): Splice {
  const comparer = new Comparer(theirs, reference, reference.noiseOf, spliced);
  const points = new Map(spliced.map((own) => [own.name, own]));
  return (point, value, from) => {
    const own = points.get(point);
    if (!own) return value;
    const { positions, theirs: rows, rowShape } = comparer.aligned(own);
    return withRows(value, from, positions, rows, sizeOfShape(rowShape));
  };
}

/** A copy of a value, with rows of another one where that has them. */
function withRows(value: Tensor, from: number, positions: readonly number[], rows: Floats, width: number): Tensor {
  const copy = zerosLike(value, value.shape);
  copy.data.set(flat(value));
  for (const [row, position] of positions.entries()) {
    const t = position - from;
    if (t >= 0 && t < value.shape[0]!) copy.data.set(rows.subarray(row * width, (row + 1) * width), t * width);
  }
  return copy;
}

/**
 * @param points by our names or theirs
 * @throws UsageError for a point that they have no values for, or after which nothing of theirs follows
 */
export function chosenFrom(all: readonly Named[], points: readonly string[], path: string): Named[] {
  const chosen = points.map((point) => {
    const own = all.find(({ name, tensor }) => name === point || tensor.name === point);
    if (own) return own;
    const names = all.map(({ name }) => name);
    const hint = names.length === 0 ? 'there is none at all.' : `did you mean ${nearestOf(point, names)}?`;
    throw new UsageError(`${path}: there is no tensor for ${point} that a pass could go on with; ${hint}`);
  });
  const last = lastOf(chosen);
  if (all.some(({ name }) => inFlow(name, last) > 0)) return chosen;
  throw new UsageError(
    `${path}: nothing of theirs follows ${last}, so nothing would be learnt; choose an earlier point.`,
  );
}

/** What follows the last splice, and what that says. */
export function afterSplice(found: Comparison, spliced: readonly Named[]): Comparison {
  const last = lastOf(spliced);
  const tensors = found.tensors.filter(({ name }) => inFlow(name, last) > 0);
  const tokens = found.tokens ? [found.tokens.verdict] : [];
  const verdict = worstOf([...tensors.map((tensor) => tensor.verdict), ...tokens]);
  const rest = verdict === 'different' ? 'something after it is wrong too' : 'what is wrong lies there or before it';
  const points = spliced.map(({ name }) => name).join(', ');
  const conclusion = `From ${points} on ours went on with theirs, and what follows is ${verdict}: ${rest}.`;
  return { ...found, verdict, tensors, first: partingsOf(tensors)[0] ?? null, conclusion };
}

function lastOf(spliced: readonly Named[]): string {
  const names = spliced.map(({ name }) => name);
  return names.sort(inFlow).at(-1)!;
}
