/** What mutants of the first layer compute, against a few lines of attention and rope that share no code with ours. */
import { describe, expect, it } from 'vitest';
import { candidatesFor } from '../../../src/reference/mutants/index.js';
import type { Computed } from '../../../src/reference/mutants/run.js';
import { roundToBfloat16 } from '../../../src/tensor/dtype.js';
import { computed, lawIds, lawModel } from '../../support/mutant-laws.js';

const PASSES = [9, 6, 1, 1, 4, 1];
const TOKENS = 22;
const PAGE = 4;

/** Of each position: where its pass begins, and where it ends. */
const CUTS = PASSES.flatMap((length, i) => {
  const start = PASSES.slice(0, i).reduce((sum, own) => sum + own, 0);
  return Array<readonly [number, number]>(length).fill([start, start + length]);
});

interface Sizes {
  readonly heads: number;
  readonly groups: number;
  readonly dim: number;
}

interface Rules {
  readonly sees: (query: number, key: number, start: number) => boolean;
  readonly scale: number;
  /** Where the row of a key is read; null: nothing is there. */
  readonly rowOf?: (key: number, stored: number) => number | null;
  readonly groupOf?: (head: number) => number;
  readonly bias?: (head: number, query: number, key: number) => number;
  readonly cap?: (score: number, seen: boolean) => number;
}

type Values = ArrayLike<number>;

/** softmax(scale q k + bias) v over [T, heads, dim] and [T, groups, dim], of all stored keys one after the other. */
function attended(q: Values, k: Values, v: Values, { heads, groups, dim }: Sizes, rules: Rules): number[] {
  const {
    sees,
    scale,
    rowOf = (key) => key,
    groupOf = (h) => Math.floor((h * groups) / heads),
    bias = () => 0,
  } = rules;
  const cap = rules.cap ?? ((score: number, seen: boolean) => (seen ? score : -Infinity));
  return CUTS.flatMap(([start, stored], query) =>
    Array.from({ length: heads }, (_, h) => {
      const at = (rows: Values, key: number, i: number) => {
        const row = rowOf(key, stored);
        return row === null ? 0 : rows[(row * groups + groupOf(h)) * dim + i]!;
      };
      const weights = Array.from({ length: stored }, (_, key) => {
        let score = 0;
        for (let i = 0; i < dim; i++) score += q[(query * heads + h) * dim + i]! * at(k, key, i);
        return Math.exp(cap(scale * score + bias(h, query, key), sees(query, key, start)));
      });
      const whole = weights.reduce((sum, weight) => sum + weight, 0);
      return Array.from({ length: dim }, (_, i) => weights.reduce((sum, weight, key) => sum + (weight / whole) * at(v, key, i), 0)); // biome-ignore format: one thought
    }).flat(),
  );
}

const setting = (checkpoint: string) => {
  const model = lawModel(checkpoint, { precision: 'float64', pageSize: PAGE });
  const ids = lawIds(model, TOKENS);
  const right = computed(model, {}, ids);
  return {
    at: async (name: string) => (await right).points.get(`layers.0.attention.${name}`)!.values,
    ofMutant: (name: string) => {
      const found = candidatesFor(model).find((own) => own.name === name);
      expect(found, candidatesFor(model).map((own) => own.name).join()).toBeDefined(); // biome-ignore format: one thought
      return computed(model, found!.variant, ids, { passes: PASSES });
    },
  };
};

function expectNear(found: Computed, point: string, expected: Values): void {
  const { values } = found.points.get(`layers.0.attention.${point}`)!;
  expect(values.length).toBe(expected.length);
  const far = values.findIndex((value, i) => !(Math.abs(value - expected[i]!) <= 1e-12 * Math.max(1, Math.abs(value))));
  expect(far, far < 0 ? '' : `[${far}] is ${values[far]}, by hand ${expected[far]}`).toBe(-1);
}

const WINDOW = 16;
const windowed = (query: number, key: number) => key <= query && key > query - WINDOW;
const lastPage = (stored: number) => Math.floor((stored - 1) / PAGE);

describe('attention of tiny-mistral-f16 by hand', () => {
  const { at, ofMutant } = setting('tiny-mistral-f16');
  const sizes = { heads: 8, groups: 2, dim: 12 };
  const right: Rules = { sees: windowed, scale: 1 / Math.sqrt(12) };
  const CASES: readonly (readonly [string, Partial<Rules>])[] = [
    ['mask-missing', { sees: (query, key) => key > query - WINDOW }],
    ['mask-strict', { sees: (query, key) => windowed(query, key) && (key !== query || query === 0) }],
    ['mask-top-left', { sees: (query, key, start) => windowed(query - start, key) }],
    ['window-short', { sees: (query, key) => windowed(query, key) && key !== query - WINDOW + 1 }],
    ['window-long', { sees: (query, key) => windowed(query, key) || key === query - WINDOW }],
    ['chunks-for-window', { sees: (query, key) => key <= query && Math.floor(key / WINDOW) === Math.floor(query / WINDOW) }],
    ['cache-stale', { sees: (query, key, start) => windowed(query, key) && (start === 0 || key < start) }],
    ['cache-row-lost', { sees: (query, key, start) => windowed(query, key) && (start === 0 || key !== start - 1) }],
    ['page-off-by-one', { rowOf: (key, stored) => (key % PAGE < PAGE - 1 ? key : key + PAGE < stored ? key + PAGE : null) }],
    [
      'block-table-swapped',
      {
        rowOf: (key, stored) => {
          const page = Math.floor(key / PAGE);
          const other = page === 0 ? lastPage(stored) : page === lastPage(stored) ? 0 : page;
          const row = other * PAGE + (key % PAGE);
          return row < stored ? row : null;
        },
      },
    ],
    ['heads-tiled', { groupOf: (head) => head % 2 }],
    ['kv-head-first', { groupOf: () => 0 }],
    ['scale-missing', { scale: 1 }],
    ['scale-twice', { scale: 1 / 12 }],
    ['scale-by-width', { scale: 1 / 8 }],
  ]; // biome-ignore format: a table

  it.each(CASES)('%s', async (name, change) => {
    const [q, k, v] = [await at('q_rope'), await at('k_rope'), await at('v')];
    expectNear(await ofMutant(name), 'heads', attended(q, k, v, sizes, { ...right, ...change }));
    const plain = attended(q, k, v, sizes, right);
    const mistaken = attended(q, k, v, sizes, { ...right, ...change });
    expect(mistaken.some((value, i) => Math.abs(value - plain[i]!) > 1e-3)).toBe(true);
  });

  it('heads-not-transposed joins heads of tokens as if each head came first', async () => {
    const [plain, found] = [await at('heads'), await ofMutant('heads-not-transposed')];
    const expected = new Float64Array(plain.length);
    for (const [t, [start, end]] of CUTS.entries()) {
      for (let h = 0; h < 8; h++) {
        for (let i = 0; i < 12; i++) {
          const place = start * 8 + h * (end - start) + (t - start);
          expected[place * 12 + i] = plain[(t * 8 + h) * 12 + i]!;
        }
      }
    }
    expectNear(found, 'heads', expected);
  });
});

describe('scores of other families by hand', () => {
  const causal = (query: number, key: number) => key <= query;
  const SLOPES = [-2, -4, -6, -8, -1, -3].map((power) => 2 ** power); // Press et al. 2022, of 6 heads

  it.each([
    ['alibi-missing', () => 0],
    ['alibi-backwards', (h: number) => -SLOPES[h]!],
    ['alibi-heads-reversed', (h: number) => SLOPES[5 - h]!],
    ['alibi-slopes', (h: number) => 2 ** ((-8 * (h + 1)) / 6)],
  ] as const)('%s of BLOOM', async (name, slopeOf) => {
    const { at, ofMutant } = setting('families/bloom');
    const [q, k, v] = [await at('q'), await at('k'), await at('v')];
    const sizes = { heads: 6, groups: 6, dim: 10 };
    const by = (slope: (h: number) => number): Rules => ({
      sees: causal,
      scale: 1 / Math.sqrt(10),
      bias: (h, query, key) => slope(h) * (key - query),
    });
    expectNear(await ofMutant(name), 'heads', attended(q, k, v, sizes, by(slopeOf)));
    expectNear({ points: new Map([['layers.0.attention.heads', { values: await at('heads'), width: 60 }]]), firstRow: 0 }, 'heads', attended(q, k, v, sizes, by((h) => SLOPES[h]!))); // biome-ignore format: one thought
  });

  it('score-softcap-after-mask shows masked keys a little', async () => {
    const { at, ofMutant } = setting('families/gemma2');
    const [q, k, v] = [await at('q_rope'), await at('k_rope'), await at('v')];
    const rules: Rules = {
      sees: (query, key) => key <= query && key > query - 12,
      scale: 1 / Math.sqrt(24),
      cap: (score, seen) => (seen ? 4 * Math.tanh(score / 4) : -4),
    };
    const expected = attended(q, k, v, { heads: 4, groups: 2, dim: 16 }, rules);
    expectNear(await ofMutant('score-softcap-after-mask'), 'heads', expected);
  });

  it('sinks-missing divides by the sum over keys alone', async () => {
    const { at, ofMutant } = setting('tiny-gpt-oss-bf16');
    const [q, k, v] = [await at('q_rope'), await at('k_rope'), await at('v')];
    const expected = attended(q, k, v, { heads: 8, groups: 2, dim: 16 }, { sees: windowed, scale: 0.25 });
    expectNear(await ofMutant('sinks-missing'), 'heads', expected);
  });
});

describe('rope of tiny-mistral-f16 by hand', () => {
  const { at, ofMutant } = setting('tiny-mistral-f16');
  type Angle = (position: number, start: number, frequency: number) => number;
  const right: Angle = (position, _, frequency) => position * frequency;

  /** Pairs (a, b) of [T, heads, 12], turned as complex numbers. */
  const turned = (x: Values, heads: number, angle: Angle, pair: (i: number) => readonly number[]) => {
    const y = Array.from(x);
    for (const [position, [start]] of CUTS.entries()) {
      for (let h = 0; h < heads; h++) {
        for (let i = 0; i < 6; i++) {
          const by = angle(position, start, 10_000 ** (-i / 6));
          const [a, b] = pair(i).map((place) => (position * heads + h) * 12 + place) as [number, number];
          y[a] = x[a]! * Math.cos(by) - x[b]! * Math.sin(by);
          y[b] = x[a]! * Math.sin(by) + x[b]! * Math.cos(by);
        }
      }
    }
    return y;
  };
  const halves = (i: number) => [i, i + 6] as const;
  const neighbours = (i: number) => [2 * i, 2 * i + 1] as const;
  const none: Angle = () => 0;
  const twice: Angle = (position, _, frequency) => 2 * position * frequency;
  const narrow: Angle = (position, _, frequency) => roundToBfloat16(position * roundToBfloat16(frequency));

  const CASES: readonly (readonly [string, Angle, Angle])[] = [
    ['rope-interleaved', right, right],
    ['rope-missing', none, none],
    ['rope-queries-alone', right, none],
    ['rope-keys-alone', none, right],
    ['rope-twice', twice, twice],
    ['rope-backwards', (...own) => -right(...own), (...own) => -right(...own)],
    ['rope-in-bfloat16', narrow, narrow],
    ['position-reset', (p, start, f) => (p - start) * f, (p, start, f) => (p - start) * f],
    ['position-off-by-one-later (too far)', (p, start, f) => (p + (start > 0 ? 1 : 0)) * f, (p, start, f) => (p + (start > 0 ? 1 : 0)) * f],
    ['position-off-by-one-later (too near)', (p, start, f) => (p - (start > 0 ? 1 : 0)) * f, (p, start, f) => (p - (start > 0 ? 1 : 0)) * f],
    ['prefix-elsewhere', (p, _, f) => (p < PAGE ? p + PAGE : p) * f, (p, _, f) => (p < PAGE ? p + PAGE : p) * f],
  ]; // biome-ignore format: a table

  it.each(CASES)('%s', async (name, ofQueries, ofKeys) => {
    const pair = name === 'rope-interleaved' ? neighbours : halves;
    const found = await ofMutant(name);
    expectNear(found, 'q_rope', turned(await at('q'), 8, ofQueries, pair));
    expectNear(found, 'k_rope', turned(await at('k'), 2, ofKeys, pair));
  });
});
