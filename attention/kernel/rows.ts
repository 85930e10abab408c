/** What kernels on the host share: the stored rows of the blocks, and which of them a query sees. */
import { ShapeError } from '../../src/errors.js';
import { expectShape, type Floats, flat } from '../../src/tensor/tensor.js';
import type { CacheBlock } from '../streams.js';
import type { AttentionCall } from './kernel.js';
import type { Scratch } from './scratch.js';

/** A key stream's rows [S, G, dim], flat. */
interface KeyPart {
  readonly data: Floats;
  readonly dim: number;
}

/** The stored rows of a block, read once for all queries: keys [S, G, K] in the parts that stand side by side, and values [S, G, V], flat. */
export interface Rows {
  readonly positions: Int32Array;
  readonly heads: number;
  readonly keyParts: readonly KeyPart[];
  readonly keyDim: number;
  readonly values: Floats;
  readonly valueDim: number;
}

/** The rows of a call's blocks, and its sizes. @throws ShapeError if they do not fit together. */
export function rowsOfCall(call: AttentionCall) {
  const rows = call.blocks.map((block) => readRows(block, call));
  if (rows.length === 0) throw new ShapeError('There is no block to attend to.');
  const [tokens, queryHeads, keyDim] = call.q_THK.shape as [number, number, number];
  const { heads: groups, valueDim } = rows[0]!;
  expectShape(call.q_THK, 'q', { T: call.positions.length, H: queryHeads, K: rows[0]!.keyDim });
  expectShape(call.out_THV, 'out', { T: tokens, H: queryHeads, V: valueDim });
  return { rows, tokens, queryHeads, keyDim, valueDim, perGroup: perGroupOf(queryHeads, groups) };
}

/** Query heads of one key/value head. @throws ShapeError */
export function perGroupOf(queryHeads: number, groups: number): number {
  if (queryHeads % groups === 0) return queryHeads / groups;
  throw new ShapeError(`${queryHeads} query heads cannot share ${groups} key/value heads evenly.`);
}

function readRows(block: CacheBlock, { keyStreams, valueStream }: AttentionCall): Rows {
  const keys = keyStreams.map((stream) => block.read(stream));
  const values = block.read(valueStream);
  const heads = values.shape[1]!;
  for (const key of keys) expectShape(key, 'a key stream', { S: block.positions.length, G: heads, K: key.shape[2]! });
  return {
    positions: block.positions,
    heads,
    keyParts: keys.map((key) => ({ data: flat(key), dim: key.shape[2]! })),
    keyDim: keys.reduce((sum, key) => sum + key.shape[2]!, 0),
    values: flat(values),
    valueDim: values.shape[2]!,
  };
}

/** Copies the key of one row and head, its parts side by side. */
export function copyKeyInto(target: Floats, to: number, { keyParts, heads }: Rows, row: number, g: number): void {
  let at = to;
  for (const { data, dim } of keyParts) {
    const from = (row * heads + g) * dim;
    target.set(data.subarray(from, from + dim), at);
    at += dim;
  }
}

/** All keys of a block [S, G, K], flat: as they are stored, or copied where they come in several parts. */
export function keysOf(rows: Rows, scratch: Scratch): Floats {
  const { positions, heads, keyParts, keyDim } = rows;
  const [first, ...others] = keyParts as [KeyPart, ...KeyPart[]];
  if (others.length === 0) return first.data;
  const joined = scratch.floats(first.data, positions.length * heads * keyDim);
  for (let row = 0; row < positions.length; row++) {
    for (let g = 0; g < heads; g++) copyKeyInto(joined, (row * heads + g) * keyDim, rows, row, g);
  }
  return joined;
}

/** Some rows, in order of position: of which block, which row of it, and where. */
export interface Seen {
  count: number;
  readonly block: Int32Array;
  readonly row: Int32Array;
  readonly positions: Int32Array;
}

/** Room for every stored row. */
export function roomFor(rows: readonly Rows[], scratch: Scratch): Seen {
  const stored = rows.reduce((sum, { positions }) => sum + positions.length, 0);
  return { count: 0, block: scratch.ints(stored), row: scratch.ints(stored), positions: scratch.ints(stored) };
}

/** Fills `seen` with the rows that a query sees. */
export function lookInto(seen: Seen, rows: readonly Rows[], query: number, { visibility }: AttentionCall): void {
  seen.count = 0;
  for (const [b, { positions }] of rows.entries()) {
    for (let row = 0; row < positions.length; row++) {
      if (!visibility.sees(query, positions[row]!)) continue;
      seen.block[seen.count] = b;
      seen.row[seen.count] = row;
      seen.positions[seen.count++] = positions[row]!;
    }
  }
}
