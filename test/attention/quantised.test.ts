/** What caches store of rows, byte for byte, against NumPy and PyTorch (`fixtures/generate/quantised.py`). */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { KvConfig, KvDtype } from '../../attention/cache/codec/format.js';
import { bytesOf } from '../../attention/cache/codec/layout.js';
import { newRows, plansOf } from '../../attention/cache/layer-plan.js';
import { openSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { type Floats, flat, type Precision, tensor } from '../../src/tensor/tensor.js';
import { fixture } from '../support/fixtures.js';
import { keepsAll } from '../support/streams.js';

const file = openSafetensors(fixture('quantised.safetensors'));
const read = JSON.parse(file.metadata.get('read')!) as Record<string, string>;
const CASES = [...file.tensors.keys()].filter((name) => name.endsWith('.input')).map((name) => name.slice(0, -6));

/** `int4.affine.channel.g32.float16` -> what it stands for. */
function configOf(name: string, amax: readonly number[]): KvConfig {
  const [dtype, first, keys, group, scaleDtype] = name.split('.') as [KvDtype, ...string[]];
  if (first === undefined) return { dtype };
  if (keys === undefined)
    return { dtype, scale: first, amax: first === 'one' ? undefined : [{ keys: amax }] } as KvConfig;
  return { dtype, zero: first, keys, group: Number(group!.slice(1)), scaleDtype } as KvConfig;
}

const floatsOf = (name: string) => new Float32Array(file.read(name));
const bytesOfArray = (data: ArrayBufferView) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

/** The hash of float32 values in which every NaN is one. */
function hashOf(values: Floats): string {
  const words = new Uint32Array(Float32Array.from(values).buffer);
  for (const [i, value] of values.entries()) if (Number.isNaN(value)) words[i] = 0x7fc00000;
  return createHash('sha256').update(bytesOfArray(words)).digest('hex');
}

it('what is computed in float64 is rounded to float32 before it is stored', () => {
  const layer = { streams: [{ name: 'keys', heads: 1, dim: 8, key: true }], retention: keepsAll };
  const rows = Float64Array.from({ length: 32 }, (_, i) => Math.sin(i) + 2 ** -30 / (i + 1)).fill(
    1 + 2 ** -8 + 2 ** -40,
    0,
    3,
  );
  for (const dtype of ['float16', 'bfloat16', 'fp8_e5m2', 'int8', 'int4'] as const) {
    for (const config of [{ dtype }, ...(dtype.startsWith('int') ? [{ dtype, zero: 'affine' } as const] : [])]) {
      const stored = [rows, Float32Array.from(rows)].map((data) => {
        const precision = data instanceof Float64Array ? 'float64' : 'float32';
        const [plan] = plansOf({ layers: [layer], precision, dtype: config });
        const held = newRows(plan!, 4);
        held.writeInto(0, 4, { keys: tensor(data, [4, 1, 8]) });
        return held.stored().map((array) => [...array.data]);
      });
      expect(stored[0]).toEqual(stored[1]);
    }
  }
});

it('rows that share scales come and go by whole runs', () => {
  const layer = { streams: [{ name: 'keys', heads: 1, dim: 2, key: true }], retention: keepsAll };
  const dtype = { dtype: 'int4', keys: 'channel', group: 4, residual: 4 } as const;
  const [plan] = plansOf({ layers: [layer], precision: 'float32', dtype });
  const [one, other] = [newRows(plan!, 8), newRows(plan!, 8)];
  const keys = tensor(new Float32Array(16).fill(1), [8, 1, 2]);
  one.writeInto(4, 4, { keys });
  for (const [to, count] of [
    [0, 3],
    [2, 4],
    [0, 6],
  ] as const) {
    // biome-ignore format: pairs
    expect(() => one.writeInto(to, count, { keys })).toThrow(`Channels share a scale in runs of 4 rows, and ${count} rows`);
  }
  other.copyFrom(one, 4, 0, 4);
  expect([...flat(other.block(0, Int32Array.of(0, 1)).read('keys'))].map(Math.round)).toEqual([1, 1, 1, 1]);
  for (const [from, to, count] of [
    [2, 0, 4],
    [4, 2, 4],
    [4, 0, 3],
  ] as const) {
    // biome-ignore format: triples
    expect(() => other.copyFrom(one, from, to, count)).toThrow('Channels share a scale in runs of 4 rows');
  }
});

describe.each(CASES)('%s', (name) => {
  const shape = file.tensors.get(`${name}.input`)!.shape as [number, number, number];
  const [tokens, heads, dim] = shape;
  const formats = Object.keys(read)
    .filter((key) => key.startsWith(`${name}.`))
    .map((key) => key.slice(name.length + 1));

  const store = (format: string, precision: Precision, chunk: number) => {
    const input = floatsOf(`${name}.input`);
    const rows = tensor(precision === 'float64' ? Float64Array.from(input) : input, shape);
    const layer = { streams: [{ name: 'keys', heads, dim, key: true }], retention: keepsAll };
    const dtype = configOf(format, [...floatsOf(`${name}.amax`)]);
    const [plan] = plansOf({ layers: [layer], precision, dtype });
    const stored = newRows(plan!, tokens);
    for (let from = 0; from < tokens; from += chunk) stored.writeInto(from, chunk, { keys: rows }, from);
    return { stored, plan: plan! };
  };

  it('has forty formats', () => expect(formats.length).toBe(40));

  it.each(formats)('%s has the bytes of the independent implementation', (format) => {
    for (const chunk of format.includes('channel') ? [128] : [128, 1, 32]) {
      const { stored, plan } = store(format, 'float32', chunk);
      const arrays = stored.stored();
      for (const { name: array, data } of arrays) {
        const part = array === 'keys' ? 'values' : array.slice(5);
        const expected = Buffer.from(file.read(`${name}.${format}.${part}`));
        expect(bytesOfArray(data).equals(expected), `${format} ${part}`).toBe(true);
      }
      const held = [...file.tensors.values()].filter((entry) => entry.name.startsWith(`${name}.${format}.`));
      expect(arrays.length).toBe(held.length);
      // exactly sized, scales and minima counted
      expect(bytesOf(plan.layout, tokens)).toBe(held.reduce((sum, { begin, end }) => sum + end - begin, 0));
    }
  });

  it.each(formats)('%s is read as it says, in both precisions', (format) => {
    for (const precision of ['float32', 'float64'] as const) {
      const { stored } = store(format, precision, 128);
      const whole = flat(stored.block(0, new Int32Array(tokens)).read('keys'));
      expect(hashOf(whole)).toBe(read[`${name}.${format}`]);
      const part = flat(stored.block(37, new Int32Array(20)).read('keys'));
      expect(part).toEqual(whole.slice(37 * heads * dim, 57 * heads * dim));
    }
  });
});
