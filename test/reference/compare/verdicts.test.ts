import { describe, expect, it } from 'vitest';
import type { Aligned } from '../../../src/reference/compare/align.js';
import { type ComparedDtype, VERDICTS, worstOf } from '../../../src/reference/compare/comparison.js';
import { dtypeOfDump, dtypeOfValues } from '../../../src/reference/compare/dtype.js';
import { gapsOf } from '../../../src/reference/compare/experts.js';
import { floorsOf, sizeOf } from '../../../src/reference/compare/floor.js';
import { measure, type Pair } from '../../../src/reference/compare/measure.js';
import { tieOf, verdictOf } from '../../../src/reference/compare/verdict.js';

it('verdicts are ordered from best to worst', () => {
  expect(worstOf([])).toBe('identical');
  for (const [i, verdict] of VERDICTS.entries()) expect(worstOf(VERDICTS.slice(0, i + 1))).toBe(verdict);
});

it('a ratio is judged by the limits of its dtype', () => {
  const judged = (dtype: ComparedDtype, ...ratios: readonly number[]) => ratios.map((ratio) => verdictOf(ratio, dtype));
  const wide = ['identical', 'within noise', 'within noise', 'suspicious', 'suspicious', 'different', 'different'];
  for (const dtype of ['float64', 'float32'] as const) {
    expect(judged(dtype, 0, 1e-9, 7.9, 8.1, 63.9, 64.1, Number.NaN)).toEqual(wide);
  }
  for (const dtype of ['bfloat16', 'float16'] as const) {
    expect(judged(dtype, 0, 1e-9, 3.9, 4.1, 15.9, 16.1, Number.POSITIVE_INFINITY)).toEqual(wide);
  }
  // Half of what should be there is not, and noise is no excuse.
  expect(verdictOf(2.1, 'bfloat16', 0.51)).toBe('different');
  expect(verdictOf(1.9, 'bfloat16', 0.51)).toBe('within noise');
  expect(verdictOf(2.1, 'bfloat16', 0.49)).toBe('within noise');
  expect([tieOf(0.5, 'float32'), tieOf(0.5, 'bfloat16')]).toEqual([8, 1]);
});

describe('the floor of a row', () => {
  const rows = [1, 1, 1, 1, 1, 1, 1, 10].map((size) => ({ rms: size, max: 2 * size }));
  const noiseOf = (each: readonly number[]) => Float64Array.from(each.flatMap((size) => [size, 3 * size]));

  it('is its own noise, or what three rows of four have in proportion', () => {
    const floors = floorsOf(noiseOf([1e-6, 2e-6, 3e-6, 4e-6, 5e-6, 6e-6, 9e-6, 0]), rows, 'float32');
    const usual = 6e-6;
    expect(floors.map(({ rms }) => rms)).toEqual([usual, usual, usual, usual, usual, 6e-6, 9e-6, 10 * usual]);
    expect(floors[0]!.max).toBeCloseTo(3 * usual, 12);
    expect(floors[7]!.max).toBeCloseTo(30 * usual, 12);
  });

  it('is never less than one rounding, and never infinite', () => {
    expect(floorsOf(noiseOf(rows.map(() => 0)), rows, 'float32')[7]).toEqual({
      rms: 10 * 2 ** -24,
      max: 20 * 2 ** -24,
    });
    expect(floorsOf(noiseOf(rows.map(() => 0)), rows, 'bfloat16')[0]!.rms).toBe(2 ** -8);
    const overflown = noiseOf([Number.POSITIVE_INFINITY, ...rows.slice(1).map(() => 1e-6)]);
    expect(floorsOf(overflown, rows, 'float32')[0]).toEqual({ rms: 1e-6, max: 3e-6 });
  });

  it('takes no notice of what is infinite in ours', () => {
    expect(sizeOf(Float32Array.of(3, Number.NEGATIVE_INFINITY, 4, 0))).toEqual({ rms: Math.sqrt(25 / 3), max: 4 });
  });
});

describe('a difference', () => {
  const ours = Float64Array.from({ length: 200 }, (_, i) => Math.sin(i) + 1.5);
  const floors = [0, 1].map(() => ({ rms: 1e-6, max: 4e-6 }));
  const pair = (theirs: Float64Array): Pair => ({ positions: [5, 6], theirs, ours, rowShape: [4, 25], floors });
  const changed = (change: (x: number, i: number) => number) => pair(ours.map(change));

  it('of one value counts by the greatest, of all values by their mean square', () => {
    const one = measure(
      changed((x, i) => (i === 137 ? x + 4e-5 : x)),
      'float32',
      false,
    );
    expect(one.measures.ratio).toBeCloseTo(10, 3);
    expect(one.rows.map(({ position, verdict }) => [position, verdict])).toEqual([
      [5, 'identical'],
      [6, 'suspicious'],
    ]);
    expect(one.worst).toMatchObject({ position: 6, head: 1, index: [1, 12], noise: 4e-6 });
    const all = measure(
      changed((x, i) => x + (i < 100 ? 2e-5 * (i % 2 ? 1 : -1) : 0)),
      'float32',
      false,
    );
    expect(all.measures.ratio).toBeCloseTo(20, 3);
    expect(all.measures.maxAbs).toBeCloseTo(2e-5, 9);
    expect(all.measures.rms).toBeCloseTo(2e-5 / Math.SQRT2, 9);
  });

  it('is measured in units in the last place, relatively, and as an angle', () => {
    const { measures } = measure(
      changed((x, i) => (i === 0 ? x + 2 ** -22 : x)),
      'float32',
      false,
    );
    expect(measures.maxUlp).toBeCloseTo(2, 6); // 1.5 lies between 1 and 2, where float32 steps by 2^-23
    expect(measures.maxRel).toBeCloseTo(2 ** -22 / 1.5, 9);
    expect(measures.cosine).toBeCloseTo(1, 9);
    expect(
      measure(
        changed((x) => -x),
        'float32',
        false,
      ).measures.cosine,
    ).toBeCloseTo(-1, 9);
  });

  it('of what is hidden in both is none', () => {
    const hidden = {
      positions: [0],
      rowShape: [3],
      floors: [{ rms: 1e-6, max: 1e-6 }],
      ours: Float32Array.of(1, Number.NEGATIVE_INFINITY, 2),
    };
    const ratio = (value: number) =>
      measure({ ...hidden, theirs: Float32Array.of(1, value, 2) }, 'float32', false).measures.ratio;
    expect([ratio(Number.NEGATIVE_INFINITY), ratio(-3.4e38), ratio(-1e4)]).toEqual([0, 0, 0]);
    expect(ratio(-9)).toBe(Number.POSITIVE_INFINITY);
    expect(ratio(Number.NaN)).toBeNaN();
  });
});

describe('the dtype of a dump', () => {
  it('is the narrowest that has its values, of which whole numbers tell nothing', () => {
    expect(dtypeOfValues(Float32Array.of(1.5, -0.375, 3))).toBe('bfloat16');
    expect(dtypeOfValues(Float32Array.of(1 + 2 ** -10, 0.5))).toBe('float16');
    expect(dtypeOfValues(Float32Array.of(0.1, 0.5))).toBe('float32');
    expect(dtypeOfValues(Float64Array.of(0.1, 0.5))).toBe('float64');
    expect(dtypeOfValues(Float32Array.of(0, 1, -7, Number.NEGATIVE_INFINITY))).toBeNull();
  });

  it('is that of most tensors, of equals the widest', () => {
    expect(dtypeOfDump(['bfloat16', 'float32', 'bfloat16'])).toBe('bfloat16');
    expect(dtypeOfDump(['bfloat16', 'float32'])).toBe('float32');
    expect(dtypeOfDump(['float32', 'float64'])).toBe('float64');
    expect(dtypeOfDump([null, null, 'float16'])).toBe('float16');
    expect(dtypeOfDump([null])).toBe('float32');
  });
});

describe("another expert's gap", () => {
  const aligned = (theirs: readonly number[]): Aligned => ({
    positions: [0], theirs: Float64Array.from(theirs), ours: Float64Array.of(1, 3), rowShape: [2], ourRows: [0], layout: null, doubtful: false,
  }); // biome-ignore format: an object
  const logits = { layer: 0, values: Float32Array.of(0, 2, 1.9, 3), experts: 4, noise: [0.01] };

  it('is the noise that it takes to make the router choose it', () => {
    const greatest = (_: number, own: ArrayLike<number>) =>
      [0, 1, 2, 3]
        .sort((a, b) => own[b]! - own[a]!)
        .slice(0, 2)
        .sort();
    expect(gapsOf(aligned([1, 3]), logits, greatest)).toEqual([0]);
    expect(gapsOf(aligned([2, 3]), logits, greatest)).toEqual([8]); // 0.1 apart: both move by 0.05, found in doubling steps
    expect(gapsOf(aligned([0, 3]), logits, greatest)).toEqual([256]); // it must pass 1.9 as well
    expect(gapsOf(aligned([2, 3]), logits, () => [0, 1])).toEqual([Number.POSITIVE_INFINITY]);
  });

  it('is that of the logits where the router is not known', () => {
    expect(gapsOf(aligned([2, 3]), logits, null)[0]).toBeCloseTo(10, 4);
    expect(gapsOf(aligned([2, 3]), null, null)).toEqual([Number.POSITIVE_INFINITY]);
    expect(gapsOf(aligned([9, 3]), logits, null)).toEqual([Number.POSITIVE_INFINITY]);
  });
});
