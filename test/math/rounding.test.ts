/** Float32 means that every operation rounds to float32: each function against itself written out with Math.fround. */
import { readFileSync } from 'node:fs';
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ACTIVATION_NAMES, activate } from '../../src/math/elementwise.js';
import { normalise } from '../../src/math/norm.js';
import { type Rope, rotateInPlace, rotationAt } from '../../src/math/rope.js';
import { softmaxInPlace } from '../../src/math/softmax.js';
import { rms } from '../../src/model/families/decoder.js';
import { flat, tensor } from '../../src/tensor/tensor.js';
import { fixture } from '../support/fixtures.js';

const f = Math.fround;
const values = fc.array(fc.float({ min: -20, max: 20, noNaN: true }), { minLength: 16, maxLength: 16 });

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

  /** What each addition rounds away is taken from the next term. */
  const compensated = (terms: readonly number[]) =>
    terms.reduce(
      ({ total, excess }, term) => {
        const [next, raised] = [f(term - excess), f(total + f(term - excess))];
        return { total: raised, excess: f(f(raised - total) - next) };
      },
      { total: 0, excess: 0 },
    ).total;

  test.prop([values, values])('the norm rounds squares, mean, root and both products', (x, weight) => {
    const found = normalise(tensor(Float32Array.from(x), [1, 16]), rms(1e-5), {
      weight: Float32Array.from(weight),
      bias: null,
    });
    const mean = f(compensated(x.map((value) => f(value * value))) / 16);
    const inverse = f(1 / f(Math.sqrt(f(mean + f(1e-5)))));
    expect([...flat(found)]).toEqual(x.map((value, i) => f(weight[i]! * f(value * inverse))));
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
