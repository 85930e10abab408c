/** Queries and streams made by hand, for suites that need no model. */
import fc from 'fast-check';
import type { CacheSizes } from '../../attention/cache/index.js';
import type { Retention, StreamRows, StreamSchema } from '../../attention/streams.js';
import { type Floats, rowsOf, type Tensor, tensor } from '../../src/tensor/tensor.js';

/** Numbers that need all of their bits. */
export function noise(length: number, seed: number): Float64Array {
  return Float64Array.from({ length }, (_, i) => Math.sin(i * 12.9898 + seed * 78.233) * 2);
}

export interface Shape {
  readonly T: number;
  readonly G: number;
  readonly perGroup: number;
  readonly K: number;
  readonly V: number;
}

export const shapes = fc.record<Shape>({
  T: fc.integer({ min: 1, max: 70 }),
  G: fc.integer({ min: 1, max: 3 }),
  perGroup: fc.integer({ min: 1, max: 3 }),
  K: fc.integer({ min: 1, max: 40 }),
  V: fc.integer({ min: 1, max: 40 }),
});

export interface Problem {
  readonly q_THK: Tensor;
  readonly rows: StreamRows;
  readonly positions: Int32Array;
  readonly streams: StreamSchema[];
}

export function problem({ T, G, perGroup, K, V }: Shape, convert: (x: Float64Array) => Floats): Problem {
  return {
    q_THK: tensor(convert(noise(T * G * perGroup * K, 1)), [T, G * perGroup, K]),
    rows: {
      keys: tensor(convert(noise(T * G * K, 2)), [T, G, K]),
      values: tensor(convert(noise(T * G * V, 3)), [T, G, V]),
    },
    positions: Int32Array.from({ length: T }, (_, t) => t),
    streams: [
      { name: 'keys', heads: G, dim: K, key: true },
      { name: 'values', heads: G, dim: V, key: false },
    ],
  };
}

export const single = (x: Float64Array) => Float32Array.from(x);

/** What a cache is told of layers that keep everything. */
export const keepsAll: Retention = { sinks: 0, span: Number.POSITIVE_INFINITY, oldest: () => 0 };

export const SIZES: CacheSizes = { cacheTokens: 200, pageSize: 4, poolPages: Number.POSITIVE_INFINITY };

/** Rows [from, to) of every stream. */
export function rowsBetween(rows: StreamRows, from: number, to: number): StreamRows {
  return Object.fromEntries(Object.entries(rows).map(([name, all]) => [name, rowsOf(all, from, to)]));
}
