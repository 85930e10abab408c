import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dequantised, mxfp4ToBfloat16 } from '../../src/tensor/dequantise.js';
import { float8s, powersOfTwo, tableOf } from '../../src/tensor/dtype.js';
import { type Matrix, widenInto } from '../../src/tensor/matrix.js';

/** What was dequantised, in float64. */
function numbers(found: Pick<Matrix, 'dtype' | 'bits'>): Float64Array {
  const wide = new Float64Array(found.bits.length);
  widenInto(wide, { ...found, name: 'w', rows: 1, columns: wide.length }, 0, wide.length);
  return wide;
}

const size = fc.integer({ min: 1, max: 11 });
const values = float8s('F8_E4M3');

describe('codes with scales', () => {
  test.prop([fc.integer({ min: 1, max: 3 }), size, size, size, size, fc.infiniteStream(fc.nat(0x7e)), fc.boolean()])(
    'are value x scale of their block, rounded once, however blocks are cut',
    (count, rows, columns, blockRows, blockColumns, stream, powers) => {
      const codes = Uint8Array.from({ length: count * rows * columns }, () => stream.next().value!);
      const [down, across] = [Math.ceil(rows / blockRows), Math.ceil(columns / blockColumns)];
      const scales = Float32Array.from({ length: count * down * across }, (_, i) =>
        powers ? 2 ** -(i % 64) : 0.1 + i / 7,
      );
      const found = dequantised(codes, values, [count, rows, columns], { scales, blockRows, blockColumns });
      const expected = Float64Array.from(codes, (code, i) => {
        const [matrix, row, column] = [Math.floor(i / (rows * columns)), Math.floor(i / columns) % rows, i % columns];
        const block = (matrix * down + Math.floor(row / blockRows)) * across + Math.floor(column / blockColumns);
        return Math.fround(values[code]! * scales[block]!);
      });
      expect(numbers(found)).toEqual(expected);
      if (powers) expect(found.dtype).toBe('BF16'); // no bit is lost in half of the memory
    },
  );

  it('stay float32 where bfloat16 would lose a bit', () => {
    for (const bit of [8, 15, 20]) {
      const scale = 1 + 2 ** -bit; // bfloat16 has 7 bits behind the first
      const grid = { scales: Float32Array.of(scale), blockRows: 1, blockColumns: 2 };
      const found = dequantised(Uint8Array.of(0x38, 0x39), values, [1, 1, 2], grid);
      expect(found).toEqual({ dtype: 'F32', bits: Float32Array.of(scale, Math.fround(1.125 * scale)) });
    }
  });

  it('keep NaN and signed zeros', () => {
    const grid = { scales: Float32Array.of(2), blockRows: 1, blockColumns: 3 };
    const found = numbers(dequantised(Uint8Array.of(0x7f, 0x80, 0x81), values, [1, 1, 3], grid));
    expect([...found]).toEqual([Number.NaN, -0, -(2 ** -8)]);
  });
});

describe('MXFP4', () => {
  /** OCP Microscaling Formats 1.0, section 5.3.3: a sign, two bits of exponent with bias 1, one of fraction. */
  const float4 = (code: number) => {
    const [sign, exponent, fraction] = [code & 8 ? -1 : 1, (code >> 1) & 3, code & 1];
    return sign * (exponent === 0 ? fraction / 2 : (1 + fraction / 2) * 2 ** (exponent - 1));
  };

  it('holds every code under every scale exactly, the lower half of a byte first', () => {
    const blocks = Uint8Array.from({ length: 256 * 16 }, (_, i) => ((15 - (i % 16)) << 4) | (i % 16));
    const found = mxfp4ToBfloat16(
      blocks,
      Uint8Array.from({ length: 256 }, (_, scale) => scale),
    );
    const table = tableOf('BF16')!;
    for (const [i, word] of found.entries()) {
      const [scale, place] = [i >> 5, i & 31];
      const code = place % 2 === 0 ? place >> 1 : 15 - (place >> 1);
      const exact = float4(code) * 2 ** (scale - 127);
      // Beyond bfloat16's range alone it cannot be exact, and 255 is no number.
      const expected = scale === 255 ? Number.NaN : Math.abs(exact) >= 2 ** 128 ? Math.sign(exact) * Infinity : exact;
      if (!Object.is(table[word], expected))
        expect.unreachable(`scale ${scale}, code ${code}: ${table[word]}, not ${expected}`);
    }
  });

  it('has the powers of two of E8M0', () => {
    const powers = powersOfTwo();
    expect([powers[0], powers[127], powers[254], powers[255]]).toEqual([2 ** -127, 1, 2 ** 127, Number.NaN]);
  });
});
