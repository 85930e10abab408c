import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LayoutHints, layoutsOf } from '../../../src/reference/dump/layout.js';

/** Fills a tensor of theirs: at each index of theirs, the value of ours that is there. */
function theirs(shape: readonly number[], value: (index: readonly number[]) => number): Float64Array {
  const size = shape.reduce((product, length) => product * length, 1);
  return Float64Array.from({ length: size }, (_, at) => {
    const index = shape.map(() => 0);
    let rest = at;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = rest % shape[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    return value(index);
  });
}

const dims = fc.record({ t: fc.integer({ min: 1, max: 5 }), h: fc.integer({ min: 1, max: 4 }), k: fc.integer({ min: 1, max: 4 }).map((half) => 2 * half) }); // biome-ignore format: one step

interface Dims {
  readonly t: number;
  readonly h: number;
  readonly k: number;
}

/** Each a way to write q[t][h][k]: the shape, and which (t, h, k) an index of it is. */
const WRITTEN: Readonly<
  Record<string, (d: Dims) => { shape: number[]; at: (i: readonly number[]) => [number, number, number] }>
> = {
  'as it is': ({ t, h, k }) => ({ shape: [t, h, k], at: ([a, b, c]) => [a!, b!, c!] }),
  'a batch axis': ({ t, h, k }) => ({ shape: [1, t, h, k], at: ([, a, b, c]) => [a!, b!, c!] }),
  'heads first': ({ t, h, k }) => ({ shape: [h, t, k], at: ([b, a, c]) => [a!, b!, c!] }),
  'a batch axis, heads first': ({ t, h, k }) => ({ shape: [1, h, t, k], at: ([, b, a, c]) => [a!, b!, c!] }),
  'flattened heads': ({ t, h, k }) => ({ shape: [t, h * k], at: ([a, b]) => [a!, Math.floor(b! / k), b! % k] }),
  'a batch axis, flattened heads': ({ t, h, k }) => ({
    shape: [1, t, h * k],
    at: ([, a, b]) => [a!, Math.floor(b! / k), b! % k],
  }),
  'transposed, flattened heads': ({ t, h, k }) => ({
    shape: [h * k, t],
    at: ([b, a]) => [a!, Math.floor(b! / k), b! % k],
  }),
  transposed: ({ t, h, k }) => ({ shape: [h, k, t], at: ([b, c, a]) => [a!, b!, c!] }),
  'heads last': ({ t, h, k }) => ({ shape: [t, k, h], at: ([a, c, b]) => [a!, b!, c!] }),
};

const HINTS: LayoutHints = { axes: 'RHK' };

/** The value of ours at an index. */
const at = (t: number, h: number, k: number) => 10000 * t + 100 * h + k;

function ours({ t, h, k }: Dims): number[] {
  return [...theirs([t, h, k], ([a, b, c]) => at(a!, b!, c!))];
}

describe('layouts', () => {
  for (const [name, write] of Object.entries(WRITTEN)) {
    test.prop([dims])(`reads ${name} back`, (d) => {
      const { shape, at: place } = write(d);
      const found = layoutsOf(shape, [d.t, d.h, d.k], HINTS);
      const values = theirs(shape, (index) => at(...place(index)));
      expect(found.map(({ read }) => [...read(values)])).toContainEqual(ours(d));
    });

    it(`says "${name}"`, () => {
      const d = { t: 5, h: 3, k: 4 }; // no two alike, so that there is one answer
      const { shape, at: place } = write(d);
      const values = theirs(shape, (index) => at(...place(index)));
      const right = layoutsOf(shape, [5, 3, 4], HINTS).filter(({ read }) =>
        read(values).every((value, i) => value === ours(d)[i]),
      );
      expect(right.map((layout) => layout.name)).toEqual([name]);
    });

    test.prop([dims, fc.boolean(), fc.nat({ max: 2 })])(
      `reads ${name} with the other order of rope's pairs`,
      (d, halves, skipped) => {
        const from = 2 * Math.min(skipped, d.k / 2 - 1);
        const size = d.k - from;
        const rope = { from, size, pairs: halves ? 'half-split' : 'interleaved' } as const;
        const { shape, at: place } = write(d);
        // Their value at k is which of ours: 2j <-> j and 2j + 1 <-> j + half.
        const own = (k: number) => {
          const j = k - from;
          if (j < 0) return k;
          if (halves) return from + (j % 2) * (size / 2) + Math.floor(j / 2);
          return from + 2 * (j % (size / 2)) + Math.floor(j / (size / 2));
        };
        const values = theirs(shape, (index) => {
          const [t, h, k] = place(index);
          return at(t, h, own(k));
        });
        const found = layoutsOf(shape, [d.t, d.h, d.k], { axes: 'RHK', rope });
        expect(found.map(({ read }) => [...read(values)])).toContainEqual(ours(d));
      },
    );
  }

  test.prop([dims])("reads ggml's shapes, which are written backwards", ({ t, h, k }) => {
    const values = Float64Array.from(ours({ t, h, k }));
    for (const shape of [
      [k, h, t],
      [k, h, t, 1],
      [k * h, t, 1, 1],
    ]) {
      expect(layoutsOf(shape, [t, h, k], HINTS).map(({ read }) => [...read(values)])).toContainEqual(ours({ t, h, k }));
    }
  });

  it('puts the plainest first', () => {
    expect(layoutsOf([4, 4, 4], [4, 4, 4], HINTS)[0]!.name).toBe('as it is');
    expect(layoutsOf([6, 6], [6, 6], { axes: 'RD' }).map(({ name }) => name)).toEqual(['as it is', 'transposed']);
    expect(layoutsOf([1, 7, 8], [7, 8], { axes: 'RD' }).map(({ name }) => name)).toEqual(['a batch axis']);
    expect(layoutsOf([1, 3, 5, 4], [5, 3, 4], HINTS)[0]!.name).toBe('a batch axis, heads first');
  });

  it('finds none where the shapes do not fit', () => {
    expect(layoutsOf([5, 3, 5], [5, 3, 4], HINTS)).toEqual([]);
    expect(layoutsOf([2, 5, 12], [5, 3, 4], HINTS)).toEqual([]);
    expect(layoutsOf([6, 10], [5, 12], { axes: 'RD' })).toEqual([]);
    expect(layoutsOf([6, 12], [5, 12], { axes: 'RD' })).toEqual([]);
  });

  it('takes one row, or fewer rows, for the last or the first ones', () => {
    const logits = (shape: number[]) => layoutsOf(shape, [5, 12], { axes: 'RN' });
    expect(logits([12]).map(({ name, rows }) => [name, rows])).toEqual([
      ['the last row alone', [4]],
      ['the first row alone', [0]],
    ]);
    expect(logits([1, 2, 12]).map(({ name, rows }) => [name, rows])).toEqual([
      ['a batch axis, the last 2 rows alone', [3, 4]],
      ['a batch axis, the first 2 rows alone', [0, 1]],
    ]);
    expect([...logits([12])[0]!.read(Float32Array.from(Array(12).keys()))]).toEqual([...Array(12).keys()]);
  });

  it('leaves out the keys that a cache has more of', () => {
    const [t, h, s] = [3, 2, 5];
    const values = theirs([h, t, 32], ([b, a, c]) => at(a!, b!, c!));
    const found = layoutsOf([1, h, t, 32], [t, h, s], { axes: 'RHS' });
    expect(found.map(({ name }) => name)).toEqual(['a batch axis, heads first, keys padded']);
    expect([...found[0]!.read(values)]).toEqual(ours({ t, h, k: s }));
    expect(layoutsOf([h, t, 32], [t, h, s], HINTS), 'no key axis').toEqual([]);
  });
});

describe('queries, keys and values in one tensor', () => {
  const [t, dim] = [3, 4];
  const cases = fc.record({ groups: fc.integer({ min: 1, max: 3 }), per: fc.integer({ min: 1, max: 3 }) });

  test.prop([cases, fc.constantFrom('q', 'k', 'v'), fc.boolean()])(
    'finds each, by part and by group',
    ({ groups, per }, part, grouped) => {
      const queries = groups * per;
      // The heads in the order of a row: [which, number].
      const all = (which: string, count: number, from = 0) =>
        Array.from({ length: count }, (_, i) => [which, from + i] as const);
      const row = grouped
        ? Array.from({ length: groups }, (_, g) => [
            ...all('q', per, g * per),
            ...all('k', 1, g),
            ...all('v', 1, g),
          ]).flat()
        : [...all('q', queries), ...all('k', groups), ...all('v', groups)];
      const values = theirs(
        [t, row.length, dim],
        ([a, b, c]) => at(a!, row[b!]![1], c!) + 1e6 * 'qkv'.indexOf(row[b!]![0]),
      );
      const heads = part === 'q' ? queries : groups;
      const fused = { part, queryHeads: queries, keyValueHeads: groups };
      const found = layoutsOf([1, t, row.length * dim], [t, heads, dim], { axes: 'RHK', fused });
      const expected = ours({ t, h: heads, k: dim }).map((value) => value + 1e6 * 'qkv'.indexOf(part));
      expect(found.map(({ read }) => [...read(values)])).toContainEqual(expected);
      expect(layoutsOf([1, t, row.length * dim + 1], [t, heads, dim], { axes: 'RHK', fused })).toEqual([]);
    },
  );
});
