/** Float32 means that every operation rounds to float32: each function against itself written out with Math.fround. */
import { readFileSync } from 'node:fs';
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PLAIN_SCORES, scoreOf } from '../../attention/scores.js';
import { ACTIVATION_NAMES, activate, scaled, scaledSilu, sigmoid, softcapped } from '../../src/math/elementwise.js';
import { erf } from '../../src/math/erf.js';
import { normalise } from '../../src/math/norm.js';
import { type Rope, rotateInPlace, rotationAt } from '../../src/math/rope.js';
import { softmaxInPlace } from '../../src/math/softmax.js';
import { layerNorm, rms } from '../../src/model/families/decoder.js';
import { flat, type Tensor, tensor } from '../../src/tensor/tensor.js';
import { fixture } from '../support/fixtures.js';

const f = Math.fround;
/** Evenly spread: of `fc.float` most are next to 0, where hardly an operation rounds. */
const value = fc.integer({ min: -20 * 2 ** 19, max: 20 * 2 ** 19 }).map((n) => n / 2 ** 19);
const values = fc.array(value, { minLength: 16, maxLength: 16 });

/** The one order, for up to 32 terms. */
const sum = (terms: readonly number[]) => terms.reduce((total, term) => f(total + term), 0);

describe('in float32', () => {
  test.prop([values])('silu rounds the exponential, the sum and the quotient', (x) => {
    const found = activate(tensor(Float32Array.from(x), [1, 16]), 'silu');
    expect([...flat(found)]).toEqual(x.map((value) => f(value / f(1 + f(Math.exp(-value))))));
  });

  test.prop([values])('the tanh approximation of gelu rounds its ten operations', (x) => {
    const found = activate(tensor(Float32Array.from(x), [1, 16]), 'gelu_pytorch_tanh');
    const expected = x.map((value) => {
      const cube = f(f(value * value) * value);
      const inner = f(f(Math.sqrt(2 / Math.PI)) * f(value + f(f(0.044715) * cube)));
      return f(f(0.5 * value) * f(1 + f(Math.tanh(inner))));
    });
    expect([...flat(found)]).toEqual(expected);
  });

  const logistic = (x: number) => f(1 / f(1 + f(Math.exp(-x))));
  const capped = (x: number, cap: number) => f(f(Math.tanh(f(x / f(cap)))) * f(cap));

  test.prop([values])('the other activations, caps and factors round every operation', (x) => {
    const written: [(x_TF: Tensor) => Tensor, (x: number) => number][] = [
      [(x_TF) => activate(x_TF, 'gelu'), (value) => f(f(0.5 * value) * f(1 + f(erf(f(value * f(Math.SQRT1_2))))))],
      [(x_TF) => activate(x_TF, 'quick_gelu'), (value) => f(value / f(1 + f(Math.exp(-f(f(1.702) * value)))))],
      [(x_TF) => scaledSilu(x_TF, 1.702), (value) => f(value * logistic(f(value * f(1.702))))],
      [sigmoid, logistic],
      [(x_TF) => softcapped(x_TF, 3.3), (value) => capped(value, 3.3)],
      [(x_TF) => scaled(x_TF, 0.1), (value) => f(value * f(0.1))],
    ];
    for (const [found, expected] of written) {
      expect([...flat(found(tensor(Float32Array.from(x), [1, 16])))]).toEqual(x.map(expected));
    }
  });

  test.prop([value, fc.nat(500)])('scores round their cap, their bias and the sum of both', (product, distance) => {
    const alibi = { slopes: [0, 2 ** -0.5], form: 'distance', factor: 1 } as const;
    const bias = f(-distance * 2 ** -0.5);
    expect(scoreOf(product, { ...PLAIN_SCORES, alibi }, 1, 600, 600 - distance, f)).toBe(f(product + bias));
    expect(scoreOf(product, { softcap: 3.3, alibi }, 1, 600, 600 - distance, f)).toBe(f(capped(product, 3.3) + bias));
  });

  /** What each addition rounds away is taken from the next term. */
  const compensated = (terms: readonly number[]) =>
    terms.reduce(
      ({ total, excess }, term) => {
        const [next, raised] = [f(term - excess), f(total + f(term - excess))];
        return { total: raised, excess: f(f(raised - total) - next) };
      },
      { total: 0, excess: 0 },
    ).total;

  // The eps is large, so that its own rounding matters.
  test.prop([values, values])('the norm rounds squares, mean, root and both products', (x, weight) => {
    const found = normalise(tensor(Float32Array.from(x), [1, 16]), rms(333.3), {
      weight: Float32Array.from(weight),
      bias: null,
    });
    const mean = f(compensated(x.map((value) => f(value * value))) / 16);
    const inverse = f(1 / f(Math.sqrt(f(mean + f(333.3)))));
    expect([...flat(found)]).toEqual(x.map((value, i) => f(weight[i]! * f(value * inverse))));
  });

  test.prop([values, values])('and the layer norm its mean, differences and their squares too', (all, bias) => {
    const x = all.slice(0, 12); // a division by 16 would not round
    const found = normalise(tensor(Float32Array.from(x), [1, 12]), layerNorm(333.3), {
      weight: Float32Array.from(x),
      bias: Float32Array.from(bias.slice(0, 12)),
    });
    const mean = f(compensated(x) / 12);
    const apart = x.map((value) => f(value - mean));
    const variance = f(compensated(apart.map((value) => f(value * value))) / 12);
    const inverse = f(1 / f(Math.sqrt(f(variance + f(333.3)))));
    expect([...flat(found)]).toEqual(apart.map((value, i) => f(f(x[i]! * f(value * inverse)) + bias[i]!)));
  });

  test.prop([values])('softmax rounds the difference, the exponential, the sum and the quotient', (x) => {
    const found = Float32Array.from(x);
    softmaxInPlace(found, Int32Array.from(x.keys()), 16);
    const e = x.map((value) => f(Math.exp(f(value - Math.max(...x)))));
    expect([...found]).toEqual(e.map((value) => f(value / sum(e))));
  });

  test.prop([values, fc.integer({ min: 0, max: 5000 })])('rope rounds both products and their sum', (x, position) => {
    const rope: Rope = { dim: 8, pairs: 'half-split', frequencies: [1, 0.3, 0.02, 0.001], magnitude: 1.1 };
    const found = tensor(Float32Array.from(x), [1, 2, 8]);
    rotateInPlace(found, rotationAt(rope, Int32Array.of(position), 'float32'));
    const expected = x.map((value, i) => {
      const [pair, first] = [i % 4, i % 8 < 4];
      const cos = f(Math.cos(position * rope.frequencies[pair]!) * 1.1);
      const sin = f(Math.sin(position * rope.frequencies[pair]!) * 1.1);
      return first ? f(f(value * cos) - f(x[i + 4]! * sin)) : f(f(value * cos) + f(x[i - 4]! * sin));
    });
    expect([...flat(found)]).toEqual(expected);
  });
});

it('a norm has weights of one row, or of some that rows take in turn', () => {
  const x = tensor(Float64Array.of(3, 4, 3, 4, 3, 4), [3, 2]);
  const normed = (weights: number) =>
    flat(normalise(x, rms(1e-9), { weight: new Float64Array(weights).fill(1), bias: null })).length;
  expect([normed(2), normed(6)]).toEqual([6, 6]);
  expect(() => normed(3)).toThrow('A norm of 3 weights does not fit a shape of [3, 2].');
  expect(() => normed(4)).toThrow('A norm of 4 weights does not fit a shape of [3, 2].');
});

it('rope leaves values beyond its dim as they are', () => {
  const x = tensor(Float64Array.of(1, 2, 3, 4, 5, 6), [1, 1, 6]);
  rotateInPlace(
    x,
    rotationAt({ dim: 2, pairs: 'half-split', frequencies: [Math.PI / 2], magnitude: 1 }, Int32Array.of(1), 'float64'),
  );
  const found = [...flat(x)];
  expect(found.slice(2)).toEqual([3, 4, 5, 6]);
  expect(found[0]).toBeCloseTo(-2, 12);
  expect(found[1]).toBeCloseTo(1, 12);
});

describe('activations', () => {
  const recorded = JSON.parse(readFileSync(fixture('activations.json'), 'utf8')) as Record<string, number[]>;
  const x = recorded.x!;

  it.each(ACTIVATION_NAMES)('%s is what transformers computes', (name) => {
    const found = flat(activate(tensor(Float64Array.from(x), [1, x.length]), name));
    const aliases: Readonly<Record<string, string>> = { swish: 'silu', gelu_python: 'gelu' };
    const expected = recorded[aliases[name] ?? name]!;
    for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i]!, 13);
  });
});
