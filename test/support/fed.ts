/** Caches that are fed without a model: rows of any values, since bytes do not depend on them. */
import type { KvCache } from '../../attention/cache/cache.js';
import { consecutive, type LayerSchema } from '../../attention/streams.js';
import { floats, type Precision, tensor } from '../../src/tensor/tensor.js';

interface Feeding {
  readonly layers: readonly LayerSchema[];
  readonly precision: Precision;
  readonly tokens: number;
  /** Fed in one pass at first; the rest one by one. */
  readonly prompt: number;
}

export function fed(cache: KvCache, { layers, precision, tokens, prompt }: Feeding): KvCache {
  const passes = [...(prompt > 0 ? [prompt] : []), ...Array<number>(tokens - prompt).fill(1)];
  for (const count of passes) {
    const positions = consecutive(cache.next, count); // from 0 each time where nothing is kept
    cache.begin(positions, [...positions]);
    for (const [layer, { streams }] of layers.entries()) {
      const rows = streams.map(({ name, heads, dim }) => {
        return [name, tensor(floats(precision, count * heads * dim).fill(0.5), [count, heads, dim])] as const;
      });
      cache.write(layer, Object.fromEntries(rows));
    }
    cache.commit();
  }
  return cache;
}
