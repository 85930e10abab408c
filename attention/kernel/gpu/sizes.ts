/** The sizes of a call, whose rows need not be read to know them. */
import { ShapeError } from '../../../src/errors.js';
import { expectShape } from '../../../src/tensor/tensor.js';
import type { CacheBlock } from '../../streams.js';
import type { AttentionCall } from '../kernel.js';
import { perGroupOf } from '../rows.js';

export interface Sizes {
  readonly tokens: number;
  /** Key/value heads. */
  readonly groups: number;
  /** Query heads of each. */
  readonly perGroup: number;
  /** Rows of all blocks. */
  readonly stored: number;
}

/** @throws ShapeError if they do not fit together */
export function sizesOf(call: AttentionCall): Sizes {
  const { q_THK, out_THV, positions, blocks, keyStreams, valueStream } = call;
  if (blocks.length === 0) throw new ShapeError('There is no block to attend to.');
  const [tokens, queryHeads] = [positions.length, q_THK.shape[1]!];
  let groups = 0;
  for (const block of blocks) {
    const values = shapeIn(block, valueStream);
    groups = values.heads;
    const keys = keyStreams.map((name) => shapeIn(block, name));
    for (const { heads } of keys) expectHeads(heads, groups);
    expectShape(q_THK, 'q', { T: tokens, H: queryHeads, K: keys.reduce((sum, { dim }) => sum + dim, 0) });
    expectShape(out_THV, 'out', { T: tokens, H: queryHeads, V: values.dim });
  }
  const stored = blocks.reduce((sum, block) => sum + block.positions.length, 0);
  return { tokens, groups, perGroup: perGroupOf(queryHeads, groups), stored };
}

function shapeIn({ stored, read }: CacheBlock, name: string): { heads: number; dim: number } {
  const known = stored?.store.kind.streams.find((stream) => stream.name === name);
  if (known) return known;
  const [, heads, dim] = read(name).shape as [number, number, number];
  return { heads, dim };
}

function expectHeads(found: number, groups: number): void {
  if (found === groups) return;
  throw new ShapeError(`A key stream: expected ${groups} heads, as the values have, got ${found}.`);
}
