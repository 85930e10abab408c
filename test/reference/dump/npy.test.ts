import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CheckpointError } from '../../../src/errors.js';
import { openNpy } from '../../../src/reference/dump/npy.js';
import { temporaryFolder } from '../../support/fixtures.js';
import { bytesOf, type NpyParts, npy } from '../../support/npy.js';

function stored(bytes: Uint8Array): string {
  const path = join(temporaryFolder(), 'x.npy');
  writeFileSync(path, bytes);
  return path;
}

function read(bytes: Uint8Array) {
  const dump = openNpy(stored(bytes));
  try {
    const tensor = dump.tensors.get('x')!;
    return { dtype: tensor.dtype, shape: tensor.shape, values: tensor.read() };
  } finally {
    dump.close();
  }
}

/** What NumPy 2.4 and ml_dtypes 0.6 wrote of [[0, 0.25, 0.5], [0.75, 1, 1.25]]. */
const WRITTEN: readonly [what: string, dtype: string, base64: string][] = [
  [
    'bfloat16',
    'BF16',
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPFYyJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAIA+AD9AP4A/oD8=',
  ],
  [
    'float8_e5m2',
    'F8_E5M2',
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPGYxJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoANDg6PD0=',
  ],
  [
    'columns first (from big-endian)',
    'F64',
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPmY4JywgJ2ZvcnRyYW5fb3JkZXInOiBUcnVlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAAAAAD/oAAAAAAAAP9AAAAAAAAA/8AAAAAAAAD/gAAAAAAAAP/QAAAAAAAA=',
  ],
];

describe('reading .npy', () => {
  it.each(WRITTEN)('reads %s as NumPy wrote it', (_, dtype, base64) => {
    const found = read(Buffer.from(base64, 'base64'));
    expect([found.dtype, found.shape]).toEqual([dtype, [2, 3]]);
    expect([...found.values]).toEqual([0, 0.25, 0.5, 0.75, 1, 1.25]);
  });

  it.each([
    ['<f8', 'F64', new Float64Array([1, -2.5])],
    ['<f4', 'F32', new Float32Array([1, -2.5])],
    ['<f2', 'F16', new Uint16Array([0x3c00, 0xc100])],
    ['bfloat16', 'BF16', new Uint16Array([0x3f80, 0xc020])],
    ['float8_e4m3fn', 'F8_E4M3', new Uint8Array([0x38, 0xc2])],
  ])('reads %s exactly', (descr, dtype, data) => {
    const found = read(npy(bytesOf(data), { descr, shape: '(2,)' }));
    expect([found.dtype, ...found.values]).toEqual([dtype, 1, -2.5]);
  });

  it.each([
    ['|i1', 'I8', Buffer.from([1, 0xfe])],
    ['<i2', 'I16', Buffer.from([1, 0, 0xfe, 0xff])],
    ['>i2', 'I16', Buffer.from([0, 1, 0xff, 0xfe])],
    ['<i4', 'I32', bytesOf(new Int32Array([1, -2]))],
    ['<i8', 'I64', bytesOf(new BigInt64Array([1n, -2n]))],
  ])('reads %s as float64', (descr, dtype, data) => {
    const found = read(npy(data, { descr, shape: '(2,)' }));
    expect(found.values).toBeInstanceOf(Float64Array);
    expect([found.dtype, ...found.values]).toEqual([dtype, 1, -2]);
  });

  it('reads booleans, unsigned numbers, scalars and empty arrays', () => {
    expect([...read(npy(Buffer.from([1, 0]), { descr: '|b1', shape: '(2,)' })).values]).toEqual([1, 0]);
    expect([...read(npy(Buffer.from([0xff]), { descr: '|u1', shape: '(1,)' })).values]).toEqual([255]);
    expect(read(npy(bytesOf(new Float32Array([3])), { shape: '()' }))).toMatchObject({ shape: [] });
    expect(read(npy(new Uint8Array(), { shape: '(0, 3)' }))).toMatchObject({ shape: [0, 3] });
  });

  it.each([1, 2, 3] as const)('reads version %i, and lengths as old versions wrote them', (version) => {
    expect(read(npy(bytesOf(new Float32Array(6)), { version, shape: '(2L, 3L)' })).shape).toEqual([2, 3]);
  });

  test.prop([fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 })])('puts columns first in rows', (shape) => {
    const size = shape.reduce((product, length) => product * length, 1);
    const data = new Float32Array(size);
    // The value at an index is its number in row-major order.
    for (let row = 0; row < size; row++) {
      const index = shape.map(
        (length, axis) => Math.floor(row / shape.slice(axis + 1).reduce((a, b) => a * b, 1)) % length,
      );
      data[index.reduce((at, i, axis) => at + i * shape.slice(0, axis).reduce((a, b) => a * b, 1), 0)] = row;
    }
    const text = `(${shape.map((length) => `${length},`).join(' ')})`;
    const { values } = read(
      npy(bytesOf(data), { fortran: true, shape: shape.length > 1 ? text.replace(/,\)$/, ')') : text }),
    );
    expect([...values]).toEqual([...Array(size).keys()]);
  });
});

const six = bytesOf(new Float32Array(6));

const WRONG: readonly [what: string, bytes: Uint8Array, message: RegExp][] = [
  ['an empty file', new Uint8Array(), /begins with \\x93NUMPY/],
  ['text', Buffer.from('1.0 2.0 3.0 4.0'), /begins with/],
  ['a version of the future', Buffer.concat([Buffer.from('\x93NUMPY\x04\0', 'latin1'), six]), /version 4 is not known/],
  ['a byte missing', npy(six.subarray(1), { shape: '(6,)' }), /F32 of shape \[6\] takes 24 bytes, and 23 follow/],
  ['a byte more', npy(Buffer.concat([six, six.subarray(23)]), { shape: '(6,)' }), /takes 24 bytes, and 25 follow/],
  ['a shape of impossible size', npy(six, { shape: '(9999999999999999, 9999999999999999)' }), /the impossible shape/],
  [
    'an impossible shape that is empty',
    npy(new Uint8Array(), { shape: '(0, 9999999999999999)' }),
    /the impossible shape/,
  ],
  ['a negative length', npy(six, { shape: '(-6,)' }), /header is not/],
  ['a tuple of one without its comma', npy(six, { shape: '(6)' }), /header is not/],
  [
    'a key more',
    npy(six, { literal: "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': 1, }" }),
    /header is not/,
  ],
  [
    'a structured dtype',
    npy(six, { literal: "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }" }),
    /header is not/,
  ],
  ['objects', npy(six, { descr: '|O' }), /dtype is "\|O"; known are/],
  ['complex numbers', npy(six, { descr: '<c8', shape: '(3,)' }), /dtype is "<c8"/],
  ['bytes of any kind', npy(six, { descr: '|V1', shape: '(24,)' }), /save it as float32/],
  ['a dtype that objects have by nature', npy(six, { descr: 'toString' }), /dtype is "toString"/],
  ['invalid UTF-8', npy(six, { version: 3, literal: '' }).fill(0xff, 12, 13), /not valid UTF-8/],
];

describe('damaged .npy files', () => {
  it.each(WRONG)('refuses %s, naming file and tensor', (_, bytes, message) => {
    const path = stored(bytes);
    expect(() => openNpy(path)).toThrow(CheckpointError);
    expect(() => openNpy(path)).toThrow(message);
    expect(() => openNpy(path)).toThrow(path);
  });

  it('refuses integers that float64 does not have', () => {
    const bytes = npy(bytesOf(new BigInt64Array([2n ** 53n])), { descr: '<i8', shape: '(1,)' });
    expect(() => read(bytes)).toThrow('tensor x holds 9007199254740992');
  });

  const parts: fc.Arbitrary<NpyParts> = fc.record({
    version: fc.constantFrom(1, 2, 3),
    shape: fc.constant('(2, 3)'),
    fortran: fc.boolean(),
  });

  test.prop([parts, fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }), fc.nat()], {
    numRuns: 500,
  })('reads or refuses whatever bytes are changed or cut', (given, changes, cut) => {
    const whole = npy(six, given);
    for (const [at, byte] of changes) whole[at % whole.length] = byte;
    try {
      const { shape, values } = read(cut % 3 === 0 ? whole.subarray(0, cut % whole.length) : whole);
      expect(values.length).toBe(shape.reduce((product, length) => product * length, 1));
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
    }
  });
});
