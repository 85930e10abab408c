/** Where operations of an emulated precision round: each function beside the operations of PyTorch, one at a time. */
import { describe, expect, it } from 'vitest';
import { type Activation, activate, add, multiply, scaled, softcapped } from '../../src/math/elementwise.js';
import { linear } from '../../src/math/linear.js';
import { type NormConfig, normalise } from '../../src/math/norm.js';
import { type Rope, rotateInPlace, rotationAt } from '../../src/math/rope.js';
import { softmaxInPlace } from '../../src/math/softmax.js';
import { EMULATED_PRECISIONS, settleInPlace, settlingOf } from '../../src/tensor/emulated.js';
import { type Floats, flat, floats, tensor } from '../../src/tensor/tensor.js';
import { readActivations } from '../support/emulation-errors.js';

const WIDTH = 48;

it('takes a power of 3 in float16 as one operation, which shows in few numbers (those and theirs from PyTorch)', () => {
  const x = floats('float16', 5);
  x.set([-2.0546875, -1.80859375, -1.0791015625, 1.68359375, 1.701171875]);
  const expected = [-0.0411376953125, -0.06402587890625, -0.1514892578125, 1.6064453125, 1.625];
  expect([...activate(tensor(x, [1, 5]), 'gelu_new').data]).toEqual(expected);
});

describe.each(EMULATED_PRECISIONS)('in %s', (precision) => {
  const store = settlingOf(floats(precision, 0))!;

  /** Numbers of the dtype, by a seed. */
  function numbers(length: number, seed: number): Floats {
    const data = floats(precision, length);
    for (let i = 0; i < length; i++) data[i] = 2 * Math.sin(seed + 12.9898 * (i + 1)) * Math.cos(78.233 * i);
    settleInPlace(data);
    return data;
  }

  const [x, y] = [numbers(3 * WIDTH, 1), numbers(3 * WIDTH, 2)];
  const [xs, ys] = [tensor(x, [3, WIDTH]), tensor(y, [3, WIDTH])];
  const differs = (a: readonly number[], b: readonly number[]) => a.some((value, i) => value !== b[i]);

  it('sums, products and factors are stored; a factor itself is float32', () => {
    expect([...add(xs, ys).data]).toEqual([...x].map((a, i) => store(a + y[i]!)));
    expect([...multiply(xs, ys).data]).toEqual([...x].map((a, i) => store(a * y[i]!)));
    const factor = 0.44721359549995793;
    expect([...scaled(xs, factor).data]).toEqual([...x].map((a) => store(a * Math.fround(factor))));
  });

  it('a softcap is three operations', () => {
    const three = [...x].map((a) => store(store(Math.tanh(store(a / 1.5))) * 1.5));
    expect([...softcapped(xs, 1.5).data]).toEqual(three);
    expect(
      differs(
        three,
        [...x].map((a) => store(Math.tanh(a / 1.5) * 1.5)),
      ),
    ).toBe(true);
  });

  it.each(Object.keys(readActivations(precision)).filter((name) => name !== 'x'))(
    '%s is what transformers makes',
    (name) => {
      const { x: of, [name]: made } = readActivations(precision);
      const given = floats(precision, of!.length);
      given.set(of!);
      const found = [...activate(tensor(given, [1, of!.length]), name as Activation).data];
      // where 1 + erf or 1 + tanh cancels, the functions of PyTorch and ours are some units in the last place of float32 apart
      const turned = [...found.keys()].filter((i) => found[i] !== made![i]);
      expect(turned.length).toBeLessThanOrEqual(6);
      const step = precision === 'bfloat16' ? 2 ** -7 : 2 ** -10;
      for (const i of turned) {
        expect(of![i]).toBeLessThan(-3);
        expect(Math.abs(found[i]! - made![i]!)).toBeLessThanOrEqual(Math.max(step * Math.abs(made![i]!), 4e-7));
      }
    },
  );

  it('a linear layer rounds its sum and bias together, or first the one and then the other', () => {
    const weight = {
      name: 'w',
      dtype: 'F32',
      rows: 5,
      columns: WIDTH,
      bits: Float32Array.from(numbers(5 * WIDTH, 3)),
    } as const;
    const bias = numbers(5, 4);
    const sums = Array.from({ length: 15 }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < WIDTH; k++) sum += x[Math.floor(i / 5) * WIDTH + k]! * weight.bits[(i % 5) * WIDTH + k]!;
      return sum;
    });
    const once = sums.map((sum, i) => store(sum + bias[i % 5]!));
    const apart = sums.map((sum, i) => store(store(sum) + bias[i % 5]!));
    expect([...linear(xs, { weight, bias }).data]).toEqual(once);
    expect([...linear(xs, { weight, bias, biasApart: true }).data]).toEqual(apart);
    expect([...linear(xs, { weight, bias: null }).data]).toEqual(sums.map(store));
    expect(differs(once, apart)).toBe(true);
  });

  it('an RMS norm is stored before its weight multiplies it, or once', () => {
    const weights = { weight: numbers(WIDTH, 5), bias: null };
    const norm: NormConfig = { kind: 'rms', eps: 1e-5, weight: true, bias: false, weightOffset: 0 };
    const normed = Array.from({ length: 3 * WIDTH }, (_, i) => {
      const row = [...x.subarray(Math.floor(i / WIDTH) * WIDTH, (Math.floor(i / WIDTH) + 1) * WIDTH)];
      return x[i]! / Math.sqrt(row.reduce((sum, a) => sum + a * a, 0) / WIDTH + 1e-5);
    });
    const before = normed.map((a, i) => store(store(a) * weights.weight[i % WIDTH]!));
    const once = normed.map((a, i) => store(a * weights.weight[i % WIDTH]!));
    expect([...normalise(xs, norm, weights).data]).toEqual(before);
    expect([...normalise(xs, { ...norm, stores: 'once' }, weights).data]).toEqual(once);
    expect(differs(before, once)).toBe(true);
  });

  it('a layer norm is one operation', () => {
    const weights = { weight: numbers(WIDTH, 6), bias: numbers(WIDTH, 7) };
    const norm: NormConfig = { kind: 'layer', eps: 1e-5, weight: true, bias: true, weightOffset: 0 };
    const expected = Array.from({ length: 3 * WIDTH }, (_, i) => {
      const row = [...x.subarray(Math.floor(i / WIDTH) * WIDTH, (Math.floor(i / WIDTH) + 1) * WIDTH)];
      const mean = row.reduce((sum, a) => sum + a, 0) / WIDTH;
      const variance = row.reduce((sum, a) => sum + (a - mean) ** 2, 0) / WIDTH;
      const normed = (x[i]! - mean) / Math.sqrt(variance + 1e-5);
      return store(normed * weights.weight[i % WIDTH]! + weights.bias[i % WIDTH]!);
    });
    expect([...normalise(xs, norm, weights).data]).toEqual(expected);
  });

  it('a rotation is stored at each operation, at the last, or in its tables too', () => {
    const frequencies = [1, Math.fround(0.31622776)];
    const position = 1234;
    const angles = frequencies.map((frequency) => Math.fround(position * frequency));
    const cos = angles.map((angle) => Math.fround(Math.cos(angle)));
    const sin = angles.map((angle) => Math.fround(Math.sin(angle)));
    const pair = (i: number, table: (x: number) => number, product: (x: number) => number) => {
      const [a, b, c, s] = [x[i]!, x[i + 2]!, table(cos[i]!), table(sin[i]!)];
      return [store(product(a * c) - product(b * s)), store(product(b * c) + product(a * s))];
    };
    const expected = (table: (x: number) => number, product: (x: number) => number) => {
      const [[a, c], [b, d]] = [pair(0, table, product), pair(1, table, product)] as [number[], number[]];
      return [a, b, c, d];
    };
    const rotated = (stores: Rope['stores']) => {
      const rope: Rope = { dim: 4, pairs: 'half-split', frequencies, magnitude: 1, ...(stores && { stores }) };
      const own = tensor(x.slice(0, 4), [1, 1, 4]);
      rotateInPlace(own, rotationAt(rope, Int32Array.of(position), precision));
      return [...flat(own)];
    };
    expect(rotated(undefined)).toEqual(expected(store, store));
    // Frequencies of transformers count where they are the same but for roundings.
    const cosOf = (others: number[]) => {
      const rope = { dim: 4, pairs: 'half-split', frequencies: others, inFloat32: frequencies, magnitude: 1 } as const;
      return [...rotationAt(rope, Int32Array.of(position), precision).cos_TR];
    };
    expect(cosOf(frequencies.map((frequency) => frequency * (1 + 4e-6)))).toEqual(cos.map(store));
    expect(cosOf([0, 0])).toEqual([1, 1]);
    expect(rotated('tables')).toEqual(expected(store, Math.fround));
    expect(rotated('once')).toEqual(expected(Math.fround, Math.fround));
  });

  it('a softmax is float32 until it is settled; a sink stores the differences before', () => {
    const softmax = (sink: number | null, difference: (x: number) => number) => {
      const given = [...x.subarray(0, 9)];
      const most = Math.max(...given, sink ?? Number.NEGATIVE_INFINITY);
      const powers = given.map((a) => Math.exp(difference(a - most)));
      const total = powers.reduce((sum, power) => sum + power, sink === null ? 0 : Math.exp(difference(sink - most)));
      return powers.map((power) => store(power / total));
    };
    const found = (sink: number | null) => {
      const own = x.slice(0, 9);
      softmaxInPlace(own, Int32Array.from(own.keys()), 9, sink);
      settleInPlace(own);
      return [...own];
    };
    expect(found(null)).toEqual(softmax(null, (d) => d));
    expect(found(store(0.7))).toEqual(softmax(store(0.7), store));
  });
});
