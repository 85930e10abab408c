/** Puts their tensors into our pass, which goes on from there. */

import { type Floats, flat, type Tensor, zerosLike } from '../../tensor/tensor.js';
import type { Dump } from '../dump/dump.js';
import type { Splice } from '../trace/run.js';
import { sizeOfShape } from './align.js';
import { Comparer, type Named } from './comparer.js';
import type { TensorComparison } from './comparison.js';
import type { Reference } from './reference.js';

/** Points that a pass does not go on with: they are computed beside it. */
const BESIDE = /\.attention\.(scores|probabilities)$/;

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
    .filter(({ name, problem }) => problem === null && !BESIDE.test(name) && whole(name))
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
