import { flat } from '../../../src/tensor/tensor.js';
import type { CacheBlock, StreamSchema } from '../../streams.js';

/** The largest |value| of each stream by head [heads], over the rows of these blocks: what static scales are made of. */
export function amaxOf(
  blocks: readonly CacheBlock[],
  streams: readonly StreamSchema[],
): Readonly<Record<string, readonly number[]>> {
  return Object.fromEntries(
    streams.map(({ name, heads, dim }) => {
      const amax_G = Array<number>(heads).fill(0);
      for (const block of blocks) {
        for (const [i, value] of flat(block.read(name)).entries()) {
          const head = Math.floor(i / dim) % heads;
          amax_G[head] = Math.max(amax_G[head]!, Math.abs(value));
        }
      }
      return [name, amax_G];
    }),
  );
}
