import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compensatedSum, dot, sumByIndex } from '../../src/math/sum.js';

const f = Math.fround;
const BLOCK = 32; // a part of the law: written out, not imported
const float32s = (length: number) =>
  fc.array(fc.float({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100 }), {
    minLength: length,
    maxLength: length,
  });

/** The one order, written out: blocks of 32 from zero, block sums in order. */
function inOrder(terms: readonly number[], round: (x: number) => number): number {
  let total = 0;
  for (let start = 0; start < terms.length; start += BLOCK) {
    let sum = 0;
    for (const term of terms.slice(start, start + BLOCK)) sum = round(sum + term);
    total = round(total + sum);
  }
  return total;
}

describe('the one order of summation', () => {
  test.prop([fc.integer({ min: 0, max: 130 }).chain((n) => fc.tuple(float32s(n), float32s(n)))])(
    'dot products follow it, rounding every product and sum to float32',
    ([a, b]) => {
      const terms = a.map((x, i) => f(x * b[i]!));
      expect(dot(Float32Array.from(a), 0, Float32Array.from(b), 0, a.length)).toBe(inOrder(terms, f));
    },
  );

  test.prop([fc.integer({ min: 0, max: 130 }).chain((n) => fc.tuple(float32s(n), float32s(n)))])(
    'and in float64 they do so without rounding to float32',
    ([a, b]) => {
      const terms = a.map((x, i) => x * b[i]!);
      expect(dot(Float64Array.from(a), 0, Float64Array.from(b), 0, a.length)).toBe(inOrder(terms, (x) => x));
    },
  );

  test.prop([float32s(150), fc.uniqueArray(fc.integer({ min: 0, max: 149 }), { maxLength: 100 })])(
    'absent entries of an axis change nothing: a sum over some is the sum over all with zeros for the others',
    (values, chosen) => {
      const indices = [...chosen].sort((a, b) => a - b);
      const kept = Float32Array.from(indices, (i) => values[i]!);
      const zeroed = values.map((value, i) => (chosen.includes(i) ? value : 0));
      expect(sumByIndex(kept, Int32Array.from(indices), kept.length) + 0).toBe(inOrder(zeroed, f) + 0);
    },
  );

  it('is given up for norms, whose sums lose nothing that their terms have', () => {
    const terms = Float32Array.from({ length: 1 << 16 }, (_, i) => 0.1 + (i % 7));
    const exact = terms.reduce((sum, x) => sum + x, 0);
    expect(compensatedSum(terms.length, (i) => terms[i]!, f)).toBe(f(exact));
    expect(dot(terms, 0, new Float32Array(1 << 16).fill(1), 0, 1 << 16)).not.toBe(f(exact));
  });

  it('loses less than one running sum does', () => {
    const ones = Float32Array.from({ length: 1 << 16 }, () => f(0.1));
    const exact = (1 << 16) * f(0.1);
    const running = ones.reduce((sum, x) => f(sum + x), 0);
    const blocked = dot(ones, 0, new Float32Array(1 << 16).fill(1), 0, 1 << 16);
    expect(Math.abs(blocked - exact)).toBeLessThan(Math.abs(running - exact) / 10);
  });
});
