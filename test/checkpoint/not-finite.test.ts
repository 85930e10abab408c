import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { firstNotFinite, notFiniteIn } from '../../src/checkpoint/not-finite.js';
import type { Dtype } from '../../src/checkpoint/safetensors/header.js';
import { float8s, tableOf } from '../../src/tensor/dtype.js';
import { temporaryFolder } from '../support/fixtures.js';
import { safetensors } from '../support/safetensors.js';

interface Stored {
  readonly dtype: Dtype;
  readonly shape: number[];
  readonly bytes: Uint8Array;
}

/** Writes tensors one after the other, as they are given. */
function stored(tensors: Readonly<Record<string, Stored>>, name = 'model.safetensors'): string {
  let end = 0;
  const header = Object.fromEntries(
    Object.entries(tensors).map(([tensor, { dtype, shape, bytes }]) => {
      const begin = end;
      end += bytes.length;
      return [tensor, { dtype, shape, data_offsets: [begin, end] }];
    }),
  );
  const path = join(temporaryFolder(), name);
  writeFileSync(path, Buffer.concat([safetensors(header), ...Object.values(tensors).map(({ bytes }) => bytes)]));
  return path;
}

/** Every bit pattern of a dtype of 8 or 16 bits, and its value. */
const ALL: readonly [dtype: Dtype, bytes: 1 | 2, value: (bits: number) => number][] = [
  ['F16', 2, (bits) => tableOf('F16')![bits]!],
  ['BF16', 2, (bits) => tableOf('BF16')![bits]!],
  ['F8_E4M3', 1, (bits) => float8s('F8_E4M3')[bits]!],
  ['F8_E5M2', 1, (bits) => float8s('F8_E5M2')[bits]!],
];

describe('a tensor that is not finite', () => {
  it.each(ALL)('is told by every bit pattern of %s that is NaN or infinity, and by no other', (dtype, width, value) => {
    const of = (bits: number) => (width === 1 ? Uint8Array.of(bits) : new Uint8Array(Uint16Array.of(bits).buffer));
    const all = Array.from({ length: 2 ** (8 * width) }, (_, bits) => bits);
    const tensors = Object.fromEntries(all.map((bits) => [`${bits}`, { dtype, shape: [1], bytes: of(bits) }]));
    const expected = all.filter((bits) => !Number.isFinite(value(bits))).map(String);
    expect(expected.length).toBeGreaterThan(1);
    expect(notFiniteIn(stored(tensors)).sort()).toEqual(expected.sort());
  });

  test.prop([fc.array(fc.double(), { maxLength: 5 }), fc.array(fc.float(), { maxLength: 5 })])(
    'is told in F64 and F32',
    (wide, narrow) => {
      const path = stored({
        wide: { dtype: 'F64', shape: [wide.length], bytes: new Uint8Array(Float64Array.from(wide).buffer) },
        narrow: { dtype: 'F32', shape: [narrow.length], bytes: new Uint8Array(Float32Array.from(narrow).buffer) },
      });
      const expected = Object.entries({ wide, narrow }).filter(([, values]) => !values.every(Number.isFinite));
      expect(notFiniteIn(path)).toEqual(expected.map(([name]) => name));
    },
  );

  it('is named with its file; whole numbers are finite', () => {
    const ones: Stored = { dtype: 'I64', shape: [1], bytes: new Uint8Array(8).fill(0xff) };
    const bad: Stored = { dtype: 'F32', shape: [1], bytes: new Uint8Array(4).fill(0xff) };
    const [fine, file] = [stored({ ones }), stored({ ones, bad })];
    expect(firstNotFinite([fine])).toBeNull();
    expect(firstNotFinite([fine, file])).toEqual({ file, tensor: 'bad' });
  });
});
