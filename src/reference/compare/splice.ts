/** Puts their tensors into our pass, which goes on from there. */

import { flat, type Tensor, zerosLike } from '../../tensor/tensor.js';
import type { Dump } from '../dump/dump.js';
import type { Splice } from '../trace/run.js';
import { sizeOfShape } from './align.js';
import { Comparer } from './comparer.js';
import type { TensorComparison } from './comparison.js';
import type { Reference } from './reference.js';

/** Points that a pass does not go on with: they are computed beside it. */
const BESIDE = /\.attention\.(scores|probabilities)$/;

/** The points of theirs that a pass can go on with, each with their name for it. */
export function spliceable(tensors: readonly TensorComparison[]): ReadonlyMap<string, string> {
  const had = new Set(tensors.map(({ name }) => name));
  const whole = (name: string) =>
    // Experts without their weights, or the other way round, would be weighed by those of others.
    !/\.router\.(experts|weights)$/.test(name) ||
    ['experts', 'weights'].every((part) => had.has(name.replace(/(experts|weights)$/, part)));
  const usable = tensors.filter(({ name, problem }) => problem === null && !BESIDE.test(name) && whole(name));
  return new Map(usable.map(({ name, theirName }) => [name, theirName]));
}

/** @param points ours, with their names for them @param reference a run of the same tokens without splices, which tells layouts */
export function splicing(theirs: Dump, reference: Reference, points: ReadonlyMap<string, string>): Splice {
  const comparer = new Comparer(theirs, reference, reference.noiseOf);
  return (point, value, from) => {
    const theirName = points.get(point);
    if (theirName === undefined) return value;
    const { positions, theirs: rows, rowShape } = comparer.aligned(point, theirs.tensors.get(theirName)!);
    return withRows(value, from, positions, rows, sizeOfShape(rowShape));
  };
}

/** A copy of a value, with rows of another one where that has them. */
function withRows(
  value: Tensor,
  from: number,
  positions: readonly number[],
  rows: ArrayLike<number> & { subarray(begin: number, end: number): ArrayLike<number> },
  width: number,
): Tensor {
  const copy = zerosLike(value, value.shape);
  copy.data.set(flat(value));
  for (const [row, position] of positions.entries()) {
    const t = position - from;
    if (t >= 0 && t < value.shape[0]!) copy.data.set(rows.subarray(row * width, (row + 1) * width), t * width);
  }
  return copy;
}
