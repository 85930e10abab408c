/** A cache's contents as plain arrays: what is saved, and what another cache is restored from. */
import { RequestError } from '../../src/errors.js';
import { type Floats, flat, floats, tensor } from '../../src/tensor/tensor.js';
import { type CacheBlock, consecutive, type LayerSchema, type StreamRows, type StreamSchema } from '../streams.js';
import type { CacheContents, KvCache, KvDtype, LayerContents } from './cache.js';

/** Reads all rows, in the dtype that they are stored in. @throws RequestError while a pass is under way */
export function contentsOf(cache: KvCache, layers: readonly LayerSchema[], dtype: KvDtype): CacheContents {
  return {
    ids: cache.ids.slice(),
    layers: layers.map(({ streams }, layer) => {
      const blocks = cache.blocks(layer);
      const positions = Int32Array.from(blocks.flatMap((block) => [...block.positions]));
      if ((positions.at(-1) ?? -1) >= cache.next)
        throw new RequestError('A pass is under way on this cache; end it first.');
      return { positions, rows: new Map(streams.map((stream) => [stream.name, rowsOfStream(blocks, stream, dtype)])) };
    }),
  };
}

function rowsOfStream(blocks: readonly CacheBlock[], { name, heads, dim }: StreamSchema, dtype: KvDtype): Floats {
  const count = blocks.reduce((sum, { positions }) => sum + positions.length, 0);
  const whole = floats(dtype, count * heads * dim);
  let at = 0;
  for (const block of blocks) {
    const rows = flat(block.read(name));
    whole.set(rows, at);
    at += rows.length;
  }
  return whole;
}

/** Rows as a strategy would give them. */
export function asStreamRows({ positions, rows }: LayerContents, streams: readonly StreamSchema[]): StreamRows {
  return Object.fromEntries(
    streams.map(({ name, heads, dim }) => [name, tensor(rows.get(name)!, [positions.length, heads, dim])]),
  );
}

/** @throws RequestError, if a cache that keeps every token is given the rows of some. */
export function expectAllRows({ positions }: LayerContents, next: number): void {
  if (positions.length === next) return;
  throw new RequestError(
    `This cache keeps every token, and of the ${next} saved ones only ${positions.length} have rows in some layer; ` +
      'choose the cache that saved them.',
  );
}

/** Restores an empty cache that keeps all rows, by feeding them to it as a pass would. */
export function restoreWhole(cache: KvCache, { ids, layers }: CacheContents, schemas: readonly LayerSchema[]): void {
  for (const layer of layers) expectAllRows(layer, ids.length);
  cache.begin(consecutive(0, ids.length), [...ids]);
  try {
    for (const [i, layer] of layers.entries()) cache.write(i, asStreamRows(layer, schemas[i]!.streams));
  } catch (error) {
    cache.abort();
    throw error;
  }
  cache.commit();
}
