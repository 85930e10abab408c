import { expect } from 'vitest';
import type { Floats } from '../../src/tensor/tensor.js';

/** The first place where two arrays differ, -1 if none: `toEqual` takes long over large arrays. NaN equals itself, -0 is not 0. */
export function firstDifference(a: Floats, b: Floats): number {
  if (a.constructor !== b.constructor || a.length !== b.length) return 0;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return i;
  return -1;
}

/** Expects the same values, bit for bit, of the same precision and length. */
export function expectSameBits(found: Floats, expected: Floats, what = 'bits'): void {
  const at = firstDifference(found, expected);
  expect(at, at < 0 ? what : `${what}: [${at}] is ${found[at]}, expected ${expected[at]}`).toBe(-1);
}
