import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { linear } from '../../src/math/linear.js';
import { dot32 } from '../../src/math/sum.js';
import type { FloatDtype } from '../../src/tensor/dtype.js';
import { type Matrix, widenInto } from '../../src/tensor/matrix.js';
import { rowsOf, tensor } from '../../src/tensor/tensor.js';

/** Pseudo-random values that need all of their bits. */
function noise(length: number, seed: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin(i * 12.9898 + seed * 78.233) * 3);
}

function matrix(dtype: FloatDtype, rows: number, columns: number): Matrix {
  const values = noise(rows * columns, 1);
  const words = new Uint32Array(values.buffer);
  const bits = {
    F32: () => values,
    F64: () => Float64Array.from(values, (value) => value * (1 + 2 ** -30)), // wider than float32
    BF16: () => Uint16Array.from(words, (word) => word >>> 16),
    F16: () => Uint16Array.from(words, (word) => (word >>> 16) & 0xbbff), // exponents of finite numbers
    F8_E4M3: () => Uint8Array.from(words, (word) => (word >>> 16) & 0xbf),
    F8_E5M2: () => Uint8Array.from(words, (word) => (word >>> 16) & 0xbf),
  }[dtype]();
  return { name: 'w', dtype, rows, columns, bits };
}

const shape = fc.record({
  dtype: fc.constantFrom<FloatDtype>('F32', 'F16', 'BF16', 'F64', 'F8_E4M3', 'F8_E5M2'),
  tokens: fc.integer({ min: 1, max: 11 }),
  rows: fc.integer({ min: 1, max: 37 }),
  columns: fc.integer({ min: 1, max: 100 }),
});

describe('linear', () => {
  test.prop([shape])(
    'gives each output the bits of a dot product with its widened row',
    ({ dtype, tokens, rows, columns }) => {
      const [weight, x] = [matrix(dtype, rows, columns), noise(tokens * columns, 2)];
      const y = linear(tensor(x, [tokens, columns]), { weight, bias: null });
      const row = new Float32Array(columns);
      for (let n = 0; n < rows; n++) {
        widenInto(row, weight, n * columns, columns);
        for (let t = 0; t < tokens; t++) expect(y.get(t, n)).toBe(dot32(x, t * columns, row, 0, columns));
      }
    },
  );

  test.prop([shape, fc.integer({ min: 0, max: 10 })])(
    'gives a token the same bits alone as beside others',
    ({ dtype, tokens, rows, columns }, pick) => {
      const [weight, t] = [matrix(dtype, rows, columns), pick % tokens];
      const x_TD = tensor(noise(tokens * columns, 2), [tokens, columns]);
      const bias = noise(rows, 3);
      const together = linear(x_TD, { weight, bias });
      const alone = linear(rowsOf(x_TD, t, t + 1), { weight, bias });
      expect(alone.data).toEqual(together.data.slice(t * rows, (t + 1) * rows));
    },
  );

  it('refuses an input of another width, by name', () => {
    const x = tensor(new Float32Array(6), [2, 3]);
    expect(() => linear(x, { weight: matrix('F32', 2, 4), bias: null })).toThrow(
      'the input of w: expected T = 2 (new tokens), D = 4',
    );
  });
});

describe('widening', () => {
  it('is exact for every float16', () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, word) => word);
    const wide = new Float32Array(65536);
    widenInto(wide, { name: 'w', dtype: 'F16', rows: 1, columns: 65536, bits }, 0, 65536);
    const view = new DataView(new ArrayBuffer(4));
    for (let word = 0; word < 65536; word++) {
      // IEEE 754 by its bits: re-bias the exponent, and normalise subnormals.
      const [sign, exponent, fraction] = [word >>> 15, (word >> 10) & 31, word & 1023];
      if (exponent === 31) view.setUint32(0, (sign << 31) | 0x7f800000 | (fraction << 13));
      else if (exponent > 0) view.setUint32(0, (sign << 31) | ((exponent + 112) << 23) | (fraction << 13));
      else view.setFloat32(0, (sign ? -1 : 1) * (fraction / 1024) * 2 ** -14);
      expect(wide[word], `word ${word}`).toBe(view.getFloat32(0));
    }
  });

  it('is exact for every bfloat16, in float32 and in float64, from any offset', () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, word) => word);
    const expected = new Float32Array(new Uint32Array(Array.from(bits, (word) => word << 16)).buffer);
    for (const from of [0, 1, 2, 3]) {
      const weight: Matrix = { name: 'w', dtype: 'BF16', rows: 1, columns: 65536, bits };
      const [single, double] = [new Float32Array(65533 - from), new Float64Array(65533 - from)];
      widenInto(single, weight, from, single.length);
      widenInto(double, weight, from, double.length);
      expect(single).toEqual(expected.slice(from, 65533));
      expect(double).toEqual(Float64Array.from(expected.slice(from, 65533)));
    }
  });
});
