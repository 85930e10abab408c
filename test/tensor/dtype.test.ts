import { describe, expect, it } from 'vitest';
import { roundTo16, tableOf } from '../../src/tensor/dtype.js';

describe.each(['F16', 'BF16'] as const)('rounding to %s', (dtype) => {
  const table = tableOf(dtype)!;

  it('keeps every value that it has', () => {
    for (const [word, value] of table.entries()) {
      const found = roundTo16(dtype, value);
      if (Number.isNaN(value)) expect(table[found]).toBeNaN();
      else if (found !== word) expect.unreachable(`${value}: ${found} for ${word}`);
    }
  });

  it('takes the nearest of two neighbours, and the even one half way', () => {
    const infinity = dtype === 'F16' ? 0x7c00 : 0x7f80;
    for (let word = 0; word + 1 < infinity; word++) {
      const [low, high] = [table[word]!, table[word + 1]!];
      const middle = low + (high - low) / 2; // exact in float32: each has bits to spare
      const even = word % 2 === 0 ? word : word + 1;
      const nearer = Math.fround(middle * (1 - 2 ** -22));
      if (roundTo16(dtype, middle) !== even) expect.unreachable(`${middle} is half way to ${even}`);
      if (nearer > low && nearer < middle && roundTo16(dtype, nearer) !== word)
        expect.unreachable(`${nearer} is nearer to ${word}`);
      if (roundTo16(dtype, -middle) !== (even | 0x8000)) expect.unreachable(`-${middle}`);
    }
  });

  it('goes to infinity from half way behind the largest value on', () => {
    const largest = dtype === 'F16' ? 65504 : table[0x7f7f]!;
    const step = dtype === 'F16' ? 32 : 2 ** 120;
    const half = largest + step / 2;
    expect(table[roundTo16(dtype, half)]).toBe(Number.POSITIVE_INFINITY);
    expect(table[roundTo16(dtype, -half)]).toBe(Number.NEGATIVE_INFINITY);
    expect(table[roundTo16(dtype, Math.fround(half - step / 8))]).toBe(largest);
  });
});
