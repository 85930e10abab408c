/** What the requests of `touchstone bench cache` promise. */
import { describe, expect, it } from 'vitest';
import { drawRequests, NOTHING_SHARED, SHAREGPT, type WorkloadOptions } from '../../src/reference/workload.js';

const OPTIONS: WorkloadOptions = {
  seed: 3,
  requests: 4000,
  maxTokens: 1_000_000,
  ...SHAREGPT,
  vocabulary: 50,
  shared: NOTHING_SHARED,
};

const meanOf = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

describe('drawRequests', () => {
  const requests = drawRequests(OPTIONS);
  const prompts = requests.map(({ prompt }) => prompt);
  const answers = requests.map(({ ids, prompt }) => ids.length - prompt);

  it('gives the same requests for a seed, and others for another one', () => {
    const few = { ...OPTIONS, requests: 20 };
    expect(drawRequests(few)).toEqual(requests.slice(0, 20));
    expect(drawRequests({ ...few, seed: 4 })).not.toEqual(requests.slice(0, 20));
  });

  it('draws lengths with the means and the spread that are asked for', () => {
    expect(meanOf(prompts) / 161.31).toBeCloseTo(1, 1);
    expect(meanOf(answers) / 337.99).toBeCloseTo(1, 1);
    const logs = answers.map(Math.log);
    const spread = Math.sqrt(meanOf(logs.map((log) => (log - meanOf(logs)) ** 2)));
    expect(spread).toBeCloseTo(0.755, 1);
  });

  it('leaves as many tokens to come as figure 2 of the paper has: 13.3 % of 15,728 in 7 sequences', () => {
    const toCome = meanOf(answers.map((answer) => answer ** 2)) / (2 * meanOf(answers));
    expect((7 * toCome) / 15_728).toBeCloseTo(0.133, 2);
  });

  it('cuts what is too long, and leaves a token to answer', () => {
    const cut = drawRequests({ ...OPTIONS, maxTokens: 100 });
    expect(Math.max(...cut.map(({ ids }) => ids.length))).toBe(100);
    expect(Math.max(...cut.map(({ prompt }) => prompt))).toBe(99);
    expect(cut.every(({ ids, prompt }) => ids.length > prompt && prompt > 0)).toBe(true);
    expect(cut.flatMap(({ ids }) => ids).every((id) => Number.isInteger(id) && id >= 0 && id < 50)).toBe(true);
  });

  it('lets a share of the requests begin with one of the prefixes, and changes no length else', () => {
    const shared = drawRequests({ ...OPTIONS, shared: { share: 0.25, prefixes: 3, tokens: 40 } });
    const beginnings = new Map<string, number>();
    for (const { ids } of shared) {
      const beginning = ids.slice(0, 40).join();
      beginnings.set(beginning, (beginnings.get(beginning) ?? 0) + 1);
    }
    const repeated = [...beginnings.values()].filter((count) => count > 1);
    expect(repeated.length).toBe(3);
    expect(repeated.reduce((a, b) => a + b, 0) / shared.length).toBeCloseTo(0.25, 1);
  });

  it('refuses sizes that are none', () => {
    expect(() => drawRequests({ ...OPTIONS, requests: 0 })).toThrow('requests (--requests): expected a whole number');
    expect(() => drawRequests({ ...OPTIONS, maxTokens: 1 })).toThrow('maxTokens (--max-tokens): expected at least 2');
  });
});
