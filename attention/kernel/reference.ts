/**
 * The textbook kernel, the oracle for every other one: for each query and head, the scores of the visible keys, their softmax,
 * and the sum of the values that they weigh (Vaswani et al. 2017, equation 1).
 *
 * Sums over keys are made in blocks of 32 by absolute position (src/math/sum.ts), so the result does not depend on how the
 * cache cuts its blocks, on hidden rows, or on the queries computed together.
 */

import { ShapeError } from '../../src/errors.js';
import { softmaxInPlace } from '../../src/math/softmax.js';
import { addScaledInto, blockOf, closeBlockInto, dot, roundingOf } from '../../src/math/sum.js';
import { expectShape, type Floats, flat, floatsLike, type Tensor } from '../../src/tensor/tensor.js';
import type { CacheBlock } from '../streams.js';
import type { AttentionCall, AttentionKernel } from './kernel.js';

export const reference: AttentionKernel = {
  name: 'reference',
  attend(calls) {
    for (const call of calls) attendOne(call);
  },
};

/** The stored rows of a block, read once for all queries. */
interface Rows {
  readonly positions: Int32Array;
  readonly heads: number;
  readonly keys: Floats;
  readonly keyDim: number;
  readonly values: Floats;
  readonly valueDim: number;
}

function attendOne(call: AttentionCall): void {
  const rows = call.blocks.map((block) => readRows(block, call));
  if (rows.length === 0) throw new ShapeError('There is no block to attend to.');
  const [tokens, heads, keyDim] = call.q_THK.shape as [number, number, number];
  const { heads: groups, valueDim } = rows[0]!;
  expectShape(call.q_THK, 'q', { T: call.positions.length, H: heads, K: rows[0]!.keyDim });
  expectShape(call.out_THV, 'out', { T: tokens, H: heads, V: valueDim });
  if (heads % groups !== 0) throw new ShapeError(`${heads} query heads cannot share ${groups} key/value heads evenly.`);
  const [q, out] = [flat(call.q_THK), flat(call.out_THV)];
  for (let t = 0; t < tokens; t++) {
    const seen = visibleRows(call, rows, call.positions[t]!);
    const scores = floatsLike(q, seen.count);
    for (let h = 0; h < heads; h++) {
      const g = Math.floor(h / (heads / groups));
      const row = t * heads + h;
      scoresInto(scores, q, row * keyDim, call.scale, rows, seen, g);
      softmaxInPlace(scores, seen.positions, seen.count);
      weightedSumInto(out.subarray(row * valueDim, (row + 1) * valueDim), scores, rows, seen, g);
    }
  }
}

function readRows(block: CacheBlock, { keyStreams, valueStream }: AttentionCall): Rows {
  const keys = keyStreams.map((stream) => block.read(stream));
  const values = block.read(valueStream);
  const heads = values.shape[1]!;
  for (const key of keys) expectShape(key, 'a key stream', { S: block.positions.length, G: heads, K: key.shape[2]! });
  return {
    positions: block.positions,
    heads,
    keys: keys.length === 1 ? flat(keys[0]!) : sideBySide(keys),
    keyDim: keys.reduce((sum, key) => sum + key.shape[2]!, 0),
    values: flat(values),
    valueDim: values.shape[2]!,
  };
}

/** [S, G, K1] and [S, G, K2] -> [S, G, K1 + K2], flat. */
function sideBySide(parts: readonly Tensor[]): Floats {
  const width = parts.reduce((sum, part) => sum + part.shape[2]!, 0);
  const joined = floatsLike(parts[0]!.data, parts[0]!.shape[0]! * parts[0]!.shape[1]! * width);
  let offset = 0;
  for (const part of parts) {
    const [data, dim] = [flat(part), part.shape[2]!];
    for (let row = 0; row * dim < data.length; row++) {
      joined.set(data.subarray(row * dim, (row + 1) * dim), row * width + offset);
    }
    offset += dim;
  }
  return joined;
}

/** Which rows a query sees, in order of position. */
interface Seen {
  count: number;
  readonly block: Int32Array;
  readonly row: Int32Array;
  readonly positions: Int32Array;
}

function visibleRows({ visibility }: AttentionCall, rows: readonly Rows[], query: number): Seen {
  const stored = rows.reduce((sum, { positions }) => sum + positions.length, 0);
  const seen = {
    count: 0,
    block: new Int32Array(stored),
    row: new Int32Array(stored),
    positions: new Int32Array(stored),
  };
  rows.forEach(({ positions }, b) => {
    for (let row = 0; row < positions.length; row++) {
      if (!visibility.sees(query, positions[row]!)) continue;
      seen.block[seen.count] = b;
      seen.row[seen.count] = row;
      seen.positions[seen.count++] = positions[row]!;
    }
  });
  return seen;
}

/** score = scale * (q . k), for each visible key of head g. */
function scoresInto(
  scores: Floats,
  q: Floats,
  from: number,
  scale: number,
  rows: readonly Rows[],
  seen: Seen,
  g: number,
): void {
  const round = roundingOf(q);
  for (let i = 0; i < seen.count; i++) {
    const { keys, keyDim, heads } = rows[seen.block[i]!]!;
    const product = dot(q, from, keys, (seen.row[i]! * heads + g) * keyDim, keyDim);
    scores[i] = product * round(scale);
  }
}

/** out = sum of probability * value over the visible rows of head g. */
function weightedSumInto(out: Floats, probabilities: Floats, rows: readonly Rows[], seen: Seen, g: number): void {
  const sum = floatsLike(out, out.length);
  out.fill(0);
  for (let i = 0; i < seen.count; i++) {
    const { values, valueDim, heads } = rows[seen.block[i]!]!;
    addScaledInto(sum, probabilities[i]!, values, (seen.row[i]! * heads + g) * valueDim);
    const last = i + 1 === seen.count || blockOf(seen.positions[i + 1]!) !== blockOf(seen.positions[i]!);
    if (last) closeBlockInto(out, sum);
  }
}
