/** One suite for every cache, on streams made by hand: no model, no weights. */
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KvCache } from '../../attention/cache/cache.js';
import { CACHES, type CacheName } from '../../attention/cache/index.js';
import type { StreamSchema } from '../../attention/streams.js';
import { flat, tensor } from '../../src/tensor/tensor.js';
import { problem, shapes, single } from '../support/streams.js';

const caches = Object.keys(CACHES) as CacheName[];

describe.each(caches)('cache %s', (name) => {
  const make = (
    streams: StreamSchema[],
    dtype: 'float32' | 'float64' = 'float32',
    precision: 'float32' | 'float64' = 'float32',
  ): KvCache => CACHES[name]({ layers: [streams, streams], precision, dtype });

  test.prop([shapes, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 })])(
    'reads back what was written, with its positions, however it was appended',
    (shape, sizes) => {
      const { rows, streams } = problem(shape, single);
      const cache = make(streams);
      for (let i = 0, end = 0; end < shape.T; i++) {
        const from = cache.next;
        end = Math.min(end + sizes[i % sizes.length]!, shape.T);
        cache.begin(Int32Array.from({ length: end - from }, (_, j) => from + j));
        for (const layer of [0, 1]) {
          cache.write(
            layer,
            Object.fromEntries(
              Object.entries(rows).map(([stream, all]) => [
                stream,
                all.hi(end, null as never, null as never).lo(from, 0, 0),
              ]),
            ),
          );
          const blocks = cache.blocks(layer);
          expect(blocks.flatMap(({ positions }) => [...positions])).toEqual(Array.from({ length: end }, (_, j) => j));
          for (const { name: stream, heads, dim } of streams) {
            const read = blocks.flatMap((block) => [...flat(block.read(stream))]);
            expect(read).toEqual([...flat(rows[stream]!).subarray(0, end * heads * dim)]);
          }
        }
        cache.commit();
        for (const layer of [0, 1]) {
          const kept = cache.blocks(layer).flatMap(({ positions }) => [...positions]);
          expect(kept).toEqual(Array.from({ length: cache.next }, (_, j) => j));
        }
        const { used, allocated } = cache.bytes();
        expect(used).toBe(cache.next * 2 * shape.G * (shape.K + shape.V) * 4);
        expect(allocated).toBeGreaterThanOrEqual(used);
      }
    },
  );

  it('widens what it stores in another dtype than is computed in', () => {
    const streams = [{ name: 'keys', heads: 1, dim: 2 }];
    const cache = make(streams, 'float32', 'float64');
    cache.begin(Int32Array.of(0));
    cache.write(0, { keys: tensor(Float64Array.of(0.1, 1), [1, 1, 2]) });
    expect(cache.blocks(0)[0]!.read('keys').data).toEqual(Float64Array.of(Math.fround(0.1), 1));
  });

  it('refuses streams of another shape, missing ones, and ones it does not hold', () => {
    const cache = make([{ name: 'keys', heads: 1, dim: 2 }]);
    cache.begin(Int32Array.of(0));
    expect(() => cache.write(0, { keys: tensor(new Float32Array(3), [1, 1, 3]) })).toThrow(
      'keys: expected T = 1 (new tokens), G = 1 (key/value heads), K = 2',
    );
    expect(() => cache.write(0, {})).toThrow("stores a stream 'keys'");
    cache.write(0, { keys: tensor(new Float32Array(2), [1, 1, 2]) });
    expect(() => cache.blocks(0)[0]!.read('values')).toThrow("holds no stream 'values', only keys");
  });

  it('refuses positions that do not ascend from where it goes on, and changes nothing', () => {
    const cache = make([{ name: 'keys', heads: 1, dim: 1 }]);
    const write = () => {
      for (const layer of [0, 1]) cache.write(layer, { keys: tensor(new Float32Array(2), [2, 1, 1]) });
    };
    cache.begin(Int32Array.of(0, 1));
    write();
    cache.commit();
    const before = [cache.next, cache.bytes()];
    expect(() => cache.begin(Int32Array.of(cache.next + 1, cache.next))).toThrow(/cannot take a token at/);
    if (cache.next > 0)
      expect(() => cache.begin(Int32Array.of(1))).toThrow('goes on at position 2 cannot take a token at 1');
    expect([cache.next, cache.bytes()]).toEqual(before);
  });

  it('takes one pass at a time', () => {
    const cache = make([{ name: 'keys', heads: 1, dim: 1 }]);
    cache.begin(Int32Array.of(0));
    expect(() => cache.begin(Int32Array.of(0))).toThrow('A pass is under way on this cache');
    cache.abort();
    cache.begin(Int32Array.of(0));
  });

  it('forgets what was begun when the pass is aborted', () => {
    const cache = make([{ name: 'keys', heads: 1, dim: 1 }]);
    cache.begin(Int32Array.of(0, 1));
    for (const layer of [0, 1]) cache.write(layer, { keys: tensor(new Float32Array(2), [2, 1, 1]) });
    cache.abort();
    expect(cache.next).toBe(0);
    expect(cache.blocks(0).flatMap(({ positions }) => [...positions])).toEqual([]);
    expect(cache.bytes().used).toBe(0);
  });
});
