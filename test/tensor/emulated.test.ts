import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { roundTo16, roundToBfloat16, roundToFloat16, tableOf } from '../../src/tensor/dtype.js';
import {
  asFloat32,
  Bfloat16Floats,
  EMULATED_DTYPES,
  EMULATED_PRECISIONS,
  type EmulatedPrecision,
  emulatedBits,
  emulatedWords,
  emulationOf,
  Float16Floats,
  settleInPlace,
  settlingOf,
} from '../../src/tensor/emulated.js';
import { floats, floatsLike, reshaped, rowsOf, tensor, zerosLike } from '../../src/tensor/tensor.js';

const single = fc.oneof(
  fc.float({ noNaN: false }),
  fc.float({ min: -70000, max: 70000, noNaN: true }),
  fc.float({ min: Math.fround(-(2 ** -13)), max: Math.fround(2 ** -13), noNaN: true }), // subnormal in float16
);

/** The nearest number that a dtype has, from its table and by its definition. */
function nearest(dtype: 'F16' | 'BF16', value: number): number {
  return tableOf(dtype)![roundTo16(dtype, value)]!;
}

describe.each(EMULATED_PRECISIONS)('%s', (precision) => {
  const dtype = EMULATED_DTYPES[precision];
  const round = precision === 'bfloat16' ? roundToBfloat16 : roundToFloat16;

  test.prop([fc.array(single, { maxLength: 40 }), fc.nat(5)])(
    'settles an array, or a part of one, to the nearest numbers it has, ties to even',
    (values, from) => {
      const data = floats(precision, values.length + from);
      data.set(values, from);
      data.fill(1 / 3, 0, from);
      settleInPlace(data.subarray(from));
      expect([...data.subarray(from)]).toEqual(values.map((value) => nearest(dtype, value)));
      expect([...data.subarray(0, from)]).toEqual(Array(from).fill(Math.fround(1 / 3)));
      expect(values.map(round)).toEqual(values.map((value) => nearest(dtype, value)));
      expect([...emulatedWords(data.subarray(from) as Bfloat16Floats)].map((word) => tableOf(dtype)![word])).toEqual([
        ...data.subarray(from),
      ]);
    },
  );

  test.prop([fc.nat(precision === 'bfloat16' ? 0x7f7e : 0x7bfe), fc.boolean()])(
    'rounds the middle of two numbers to the even one, and what lies beside it to the nearer',
    (word, negative) => {
      const table = tableOf(dtype)!;
      const sign = negative ? -1 : 1;
      const [below, above] = [table[word]!, table[word + 1]!];
      const middle = (below + above) / 2;
      const nudge = (above - below) / 64;
      const data = floats(precision, 3);
      data.set([middle, middle - nudge, middle + nudge].map((value) => sign * value));
      if (Math.fround(middle) !== middle || Math.fround(middle + nudge) !== middle + nudge) return; // subnormal in float32
      const expected = [word % 2 === 0 ? below : above, below, above].map((value) => sign * value);
      expect([...data].map(round)).toEqual(expected);
      settleInPlace(data);
      expect([...data]).toEqual(expected);
    },
  );

  test.prop([fc.nat(65535)])('keeps every number that it has', (word) => {
    const value = tableOf(dtype)![word]!;
    expect(Object.is(round(value), value)).toBe(true);
  });

  it('goes along with parts, copies, maps and what is made like it, and not with others', () => {
    const data = floats(precision, 12);
    const whole = tensor(data, [3, 4]);
    const made = [
      data.subarray(2),
      data.slice(1, 3),
      data.map((x) => x + 1),
      floatsLike(data, 2),
      zerosLike(whole, [2]).data,
      rowsOf(whole, 1, 2).data,
      reshaped(whole, [12]).data,
    ];
    expect(made.map(emulationOf)).toEqual(made.map(() => precision));
    expect(data).toBeInstanceOf(Float32Array);
    expect(emulationOf(Float32Array.from(data))).toBeNull();
  });

  it('is float32 in the same memory where it is asked for', () => {
    const data = floats(precision, 2);
    const wide = asFloat32(data.subarray(1));
    wide[0] = 0.1;
    settleInPlace(wide);
    expect([emulationOf(wide), data[1], asFloat32(wide)]).toEqual([null, Math.fround(0.1), wide]);
  });
});

it('overflows as PyTorch does: float16 from 65520 on, bfloat16 beyond its largest number', () => {
  const infinite = Number.POSITIVE_INFINITY;
  expect([65504, 65519, 65520, -65520, 1e30].map(roundToFloat16)).toEqual([
    65504,
    65504,
    infinite,
    -infinite,
    infinite,
  ]);
  const largest = 2 ** 128 - 2 ** 120;
  expect([65520, largest, 1.003 * largest, -1.003 * largest].map(roundToBfloat16)).toEqual([
    65536,
    largest,
    infinite,
    -infinite,
  ]);
  expect(roundToFloat16(2 ** -25)).toBe(0); // half the least subnormal number: to even
  expect(roundToFloat16(2 ** -25 * 1.001)).toBe(2 ** -24);
  expect(Object.is(roundToFloat16(-1e-9), -0)).toBe(true);
});

it('leaves float32 and float64 as they are', () => {
  for (const data of [Float32Array.of(1 / 3), Float64Array.of(1 / 3)]) {
    const before = data[0];
    settleInPlace(data);
    expect([data[0], settlingOf(data), emulationOf(data)]).toEqual([before, null, null]);
  }
});

describe.each([
  ['F64', Float64Array.of(1 + 2 ** -8 + 2 ** -40, 0.1)],
  ['F32', Float32Array.of(1 + 2 ** -9, 0.1)],
  ['F16', Uint16Array.of(0x3c01, 0x2e66)],
  ['BF16', Uint16Array.of(0x3f81, 0x3dcd)],
  ['F8_E4M3', Uint8Array.of(0x39, 0x7e)],
] as const)('weights in %s', (dtype, bits) => {
  it.each(['bfloat16', 'float16'] satisfies EmulatedPrecision[])('become %s by way of float32', (precision) => {
    const table = tableOf(dtype);
    const values = [...bits].map((bit) => Math.fround(table ? table[bit]! : bit));
    const made = emulatedBits(precision, { dtype, bits });
    expect(made.dtype).toBe(EMULATED_DTYPES[precision]);
    expect([...made.bits]).toEqual(values.map((value) => roundTo16(made.dtype, value)));
  });
});

it('tells the two classes apart', () => {
  expect([emulationOf(new Bfloat16Floats(1)), emulationOf(new Float16Floats(1))]).toEqual(EMULATED_PRECISIONS);
});
