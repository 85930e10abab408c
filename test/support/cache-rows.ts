/** Caches of two layers with one value a token, for suites that need no model. */
import type { KvCache } from '../../attention/cache/cache.js';
import { CACHES, type CacheName } from '../../attention/cache/index.js';
import { consecutive, type LayerSchema, type Retention, type StreamSchema } from '../../attention/streams.js';
import { sliding } from '../../attention/visibility/sliding.js';
import { flat, type Precision, tensor } from '../../src/tensor/tensor.js';
import { keepsAll, SIZES } from './streams.js';

export const caches = Object.keys(CACHES) as CacheName[];
export const keys: StreamSchema = { name: 'keys', heads: 1, dim: 1, key: true };

/** A ring needs a window; here one that is longer than any sequence. */
export function layersOf(name: CacheName, streams: readonly StreamSchema[], retention?: Retention): LayerSchema[] {
  const all = name === 'ring' ? sliding(1000) : keepsAll;
  return [0, 1].map(() => ({ streams, retention: retention ?? all }));
}

export function make(
  name: CacheName,
  streams: readonly StreamSchema[],
  dtype: Precision = 'float32',
  precision: Precision = 'float32',
): KvCache {
  return CACHES[name]({ layers: layersOf(name, streams), precision, dtype }, SIZES).newCache();
}

/** Feeds values to both layers, one a token, each its own id. */
export function append(cache: KvCache, values: readonly number[]): void {
  cache.begin(consecutive(cache.next, values.length), values);
  for (const layer of [0, 1]) {
    cache.write(layer, {
      keys: tensor(
        Float32Array.from(values, (x) => x + layer / 2),
        [values.length, 1, 1],
      ),
    });
  }
  cache.commit();
}

/** What a layer holds: [position, value]. */
export function held(cache: KvCache, layer = 0): [number, number][] {
  return cache.blocks(layer).flatMap((block) => {
    const values = flat(block.read('keys'));
    return [...block.positions].map((position, i): [number, number] => [position, values[i]!]);
  });
}

export const state = (cache: KvCache) => [cache.next, [...cache.ids], held(cache), held(cache, 1), cache.bytes()];
