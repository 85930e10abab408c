/** What kernels on the host share: the stored rows of the blocks, and which of them a query sees. */
import { ShapeError } from '../../src/errors.js';
import { expectShape, type Floats, flat, type Tensor } from '../../src/tensor/tensor.js';
import type { CacheBlock } from '../streams.js';
import type { AttentionCall } from './kernel.js';
import type { Scratch } from './scratch.js';

/** The stored rows of a block, read once for all queries: keys [S, G, K] and values [S, G, V], flat. */
export interface Rows {
  readonly positions: Int32Array;
  readonly heads: number;
  readonly keys: Floats;
  readonly keyDim: number;
  readonly values: Floats;
  readonly valueDim: number;
}

/** The rows of a call's blocks, and its sizes. @throws ShapeError if they do not fit together. */
export function rowsOfCall(call: AttentionCall, scratch: Scratch) {
  const rows = call.blocks.map((block) => readRows(block, call, scratch));
  if (rows.length === 0) throw new ShapeError('There is no block to attend to.');
  const [tokens, queryHeads, keyDim] = call.q_THK.shape as [number, number, number];
  const { heads: groups, valueDim } = rows[0]!;
  expectShape(call.q_THK, 'q', { T: call.positions.length, H: queryHeads, K: rows[0]!.keyDim });
  expectShape(call.out_THV, 'out', { T: tokens, H: queryHeads, V: valueDim });
  if (queryHeads % groups !== 0) {
    throw new ShapeError(`${queryHeads} query heads cannot share ${groups} key/value heads evenly.`);
  }
  return { rows, tokens, queryHeads, keyDim, valueDim, perGroup: queryHeads / groups };
}

function readRows(block: CacheBlock, { keyStreams, valueStream }: AttentionCall, scratch: Scratch): Rows {
  const keys = keyStreams.map((stream) => block.read(stream));
  const values = block.read(valueStream);
  const heads = values.shape[1]!;
  for (const key of keys) expectShape(key, 'a key stream', { S: block.positions.length, G: heads, K: key.shape[2]! });
  return {
    positions: block.positions,
    heads,
    keys: keys.length === 1 ? flat(keys[0]!) : sideBySide(keys, scratch),
    keyDim: keys.reduce((sum, key) => sum + key.shape[2]!, 0),
    values: flat(values),
    valueDim: values.shape[2]!,
  };
}

/** [S, G, K1] and [S, G, K2] -> [S, G, K1 + K2], flat. */
function sideBySide(parts: readonly Tensor[], scratch: Scratch): Floats {
  const width = parts.reduce((sum, part) => sum + part.shape[2]!, 0);
  const joined = scratch.floats(parts[0]!.data, parts[0]!.shape[0]! * parts[0]!.shape[1]! * width);
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
