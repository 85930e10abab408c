import { readFileSync } from 'node:fs';
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import {
  argmax,
  createSampler,
  logProbability,
  marginOf,
  probabilitiesOf,
  type SamplerOptions,
} from '../../src/generate/sampler.js';
import { fixture } from '../support/fixtures.js';

interface Recorded {
  readonly history: number[];
  readonly cases: { logits: number[]; options: SamplerOptions; probabilities: number[] }[];
  readonly draws_at: number[];
  readonly draws: Record<string, number[]>;
}
const recorded: Recorded = JSON.parse(readFileSync(fixture('sampler.json'), 'utf8'));

describe('the sampler', () => {
  it.each(recorded.cases)(
    'draws from the probabilities that transformers gives for $options',
    ({ logits, options, probabilities }) => {
      const found = probabilitiesOf(Float64Array.from(logits), recorded.history, options);
      expect(Array.from(found, (p) => p > 0)).toEqual(probabilities.map((p) => p > 0));
      for (const [i, p] of found.entries()) expect(p).toBeCloseTo(probabilities[i]!, 12);
    },
  );

  it.each(recorded.cases)('penalises and draws in proportion: $options', ({ logits, options, probabilities }) => {
    const sampler = createSampler({ ...options, seed: 3 });
    const counts = new Float64Array(logits.length);
    const draws = 4000;
    for (let i = 0; i < draws; i++) counts[sampler(Float64Array.from(logits), recorded.history)]!++;
    for (const [i, p] of probabilities.entries()) {
      const deviation = Math.sqrt((p * (1 - p)) / draws);
      expect(Math.abs(counts[i]! / draws - p)).toBeLessThanOrEqual(5 * deviation);
    }
  });

  it.each(Object.keys(recorded.draws))("draws the numbers of NumPy's RandomState(%s)", (seed) => {
    // With two tokens, of which the first has probability p, a draw u gives the first one exactly where u < p.
    const expected = recorded.draws[seed]!;
    for (const side of [-1, 1]) {
      const sampler = (p: number) => Float64Array.of(Math.log(p), Math.log(1 - p));
      const draw = createSampler({ temperature: 1, seed: Number(seed) });
      for (let i = 0, next = 0; i <= recorded.draws_at.at(-1)!; i++) {
        const u = recorded.draws_at[next] === i ? expected[next++]! : 0.5;
        const token = draw(sampler(u + side * 1e-9), []);
        if (u !== 0.5) expect(token).toBe(side === 1 ? 0 : 1);
      }
    }
  });

  test.prop([fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 2, maxLength: 40 }), fc.nat()])(
    'picks the first of the largest at temperature 0, and at top-k 1',
    (logits, seed) => {
      const best = logits.indexOf(Math.max(...logits));
      expect(createSampler()(Float64Array.from(logits), [])).toBe(best);
      expect(argmax(Float64Array.from(logits))).toBe(best);
      const unique = logits.filter((logit) => logit === logits[best]).length === 1;
      if (unique) expect(createSampler({ temperature: 1, topK: 1, seed })(Float64Array.from(logits), [])).toBe(best);
    },
  );

  it('says how sure a choice was', () => {
    const logits = Float32Array.of(1, 3, 2.5);
    expect(marginOf(logits)).toBe(0.5);
    expect(
      Math.exp(logProbability(logits, 0)) + Math.exp(logProbability(logits, 1)) + Math.exp(logProbability(logits, 2)),
    ).toBeCloseTo(1, 12);
  });

  it.each<SamplerOptions>([
    { temperature: Number.NaN },
    { temperature: -1 },
    { topK: 1.5 },
    { topP: 0 },
    { topP: 1.1 },
    { minP: -0.1 },
    { repetitionPenalty: 0 },
    { seed: -1 },
    { seed: 2 ** 32 },
  ])('refuses %j', (options) => {
    expect(() => createSampler(options)).toThrow(UsageError);
    expect(() => createSampler(options)).toThrow(Object.keys(options)[0]!);
  });
});
