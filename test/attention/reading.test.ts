/** What kernels read of rows that lie on a device as codes, against what the codec's `decode` makes of them: bit for bit, for every form and code. */
import { afterAll, describe, expect, it } from 'vitest';
import { arrayFor, type RowCodec } from '../../attention/cache/codec/codec.js';
import type { KvConfig } from '../../attention/cache/codec/format.js';
import { layoutOf } from '../../attention/cache/codec/layout.js';
import { Arena, type ArenaStream, headScale } from '../../attention/kernel/gpu/arena.js';
import { closeDevices, openDevice } from '../../attention/kernel/gpu/devices.js';
import type { HostArray, HostDevice, HostView } from '../../attention/kernel/gpu/host-device.js';
import { arraysOf, constantsOf, eachValue, oneValue } from '../../attention/kernel/gpu/reading.js';
import {
  functionOf,
  type KernelSource,
  type Rows,
  slotArrays,
  slotOf,
  slotScalars,
} from '../../attention/kernel/gpu/source.js';
import type { Stored, StoredStream } from '../../attention/stored.js';
import { FORMS } from '../conformance/cases.js';
import { keepsAll } from '../support/streams.js';

afterAll(closeDevices);

const SIZES = [1, 5, 7, 33].flatMap((dim) => [1, 3].map((heads) => ({ heads, dim })));

/** Rows of 33 values in three heads hold every code of 16 bits. */
const ROWS = 720;

/** Rows that a run shares scales with lie before the page that is read. */
const FIRST = 7;

describe.each(['wasm', 'cpu'] as const)('%s', (name) => {
  // JavaScript computes in float64: what it adds to a product that was not rounded may be rounded otherwise
  const forms = FORMS.filter(({ config }) => name === 'wasm' || !('zero' in config));

  it.each(forms)('reads $named as it is decoded', async ({ config }) => {
    const device = (await openDevice(name)).device as HostDevice;
    for (const { heads, dim } of SIZES) {
      const amax = 'scale' in config && config.scale ? [{ keys: [0.75, 3, 0.1].slice(0, heads) }] : undefined;
      const { codec, stream } = held(device, { ...config, amax }, heads, dim);
      const decoded = codec.decode(codec.arrays, 0, ROWS, 'float32');
      for (const rows of ['listed', 'paged'] as const) {
        const first = rows === 'paged' ? FIRST : 0;
        const expected = decoded.subarray(first * heads * dim) as Float32Array;
        const sources = [wholeSource(stream.schema, rows), singleSource(stream.schema, rows)];
        for (const source of sources) {
          const found = read(device, stream, source, rows, first);
          expect(difference(found, expected), `${source.name}, ${rows}, [${heads}, ${dim}]`).toBeNull();
        }
      }
    }
  });
});

/** A stream of rows whose codes and scales are of every kind, on a device. */
function held(device: HostDevice, config: KvConfig, heads: number, dim: number) {
  const schema = { name: 'keys', heads, dim, key: true };
  const { kind, streams } = layoutOf(config, { streams: [schema], retention: keepsAll }, 0);
  const { codec } = streams[0]!;
  const arrays = codec.parts.map((part, i) => filled(arrayFor(part, ROWS), i));
  const arena = new Arena<HostArray>(kind, device);
  arena.upload(() => arrays, 0, arena.take(ROWS), ROWS);
  return { codec: { ...codec, arrays } as RowCodec & { arrays: Stored[] }, stream: arena.streams[0]! };
}

/** Every number that its elements can have, if it is long enough; NaN and infinities are among the scales. */
function filled(array: Stored, seed: number): Stored {
  const count = array instanceof Uint8Array ? 256 : 65536;
  for (let i = 0; i < array.length; i++) {
    if (array instanceof Float32Array)
      array[i] = [Math.sin(i + seed), Number.NaN, 1e-40, -Infinity][i % 9] ?? Math.cos(i);
    else array[i] = (i * 40503 + seed) % count;
  }
  return array;
}

/** out [k, row, head], going through all values of the head as scores do. */
function wholeSource(schema: StoredStream, rows: Rows): KernelSource {
  const body = `let found = 0;
${eachValue(schema, 'rows', rows, (k, value) => `if (this.thread.x == ${k}) { found = ${value}; }`)}
return found;`;
  return sourceOf('whole', schema, rows, body);
}

/** out [v, row, head], reading one value as sums do. */
function singleSource(schema: StoredStream, rows: Rows): KernelSource {
  const { before, each } = oneValue(schema, 'rows', rows, 'this.thread.x');
  return sourceOf('single', schema, rows, `${before}\n${each}\nreturn value;`);
}

function sourceOf(name: string, schema: StoredStream, rows: Rows, reading: string): KernelSource {
  const arrays = [...slotArrays(rows), ...arraysOf(schema, 'rows')];
  const scalars = slotScalars(rows);
  const body = `const head = this.thread.z;\nconst i = this.thread.y;\n${slotOf(rows)}\n${reading}`;
  return { name, text: functionOf(arrays, scalars, body), arrays, scalars, constants: constantsOf(schema), lanes: 1 };
}

/** @returns rows [ROWS - first, heads, dim]; listed ones are read from the last to the first, and put in order */
function read(device: HostDevice, stream: ArenaStream<HostArray>, source: KernelSource, rows: Rows, first: number) {
  const { schema, values, width, scales, scaleWidth, run } = stream;
  const { heads, dim } = schema;
  const count = ROWS - first;
  const row = (i: number) => (rows === 'listed' ? count - 1 - i : i);
  const slots: HostView = { data: Float32Array.from({ length: count }, (_, i) => row(i)), dims: [count] };
  const views = [...(rows === 'listed' ? [slots] : []), values.view(first * width, [width, count])];
  const runs = Math.ceil(ROWS / run);
  if (scales) views.push(scales.view(Math.floor(first / run) * scaleWidth, [scaleWidth, runs]));
  const out = device.run(source, [dim, count, heads], views, rows === 'paged' ? [first % run] : []);
  const found = new Float32Array(count * heads * dim);
  for (const [at, value] of out.entries()) {
    const [k, i, head] = [at % dim, Math.floor(at / dim) % count, Math.floor(at / dim / count)];
    found[(row(i) * heads + head) * dim + k] = value * headScale(stream, head);
  }
  return found;
}

/** The first value whose bits differ; null: there is none. Every NaN is the same. */
function difference(found: Float32Array, expected: Float32Array) {
  expect(found.length).toBe(expected.length);
  const at = found.findIndex((value, i) => !Object.is(value, expected[i]));
  return at < 0 ? null : { at, found: found[at], expected: expected[at] };
}
