import { describe, expect, it } from 'vitest';
import { compare } from '../../../src/reference/compare/index.js';
import { trace } from '../../../src/reference/trace/index.js';
import { IDS, load, planted, tensorOf } from '../../support/comparing.js';

describe('a trace of our own', () => {
  it('is identical, in every tensor', async () => {
    const model = load('tiny-deepseek-v3-bf16');
    const found = await compare(await trace(model, IDS, { capture: 'all', steps: 3 }), model, { bisect: true });
    expect(found.verdict).toBe('identical');
    expect(found.tensors.every(({ verdict }) => verdict === 'identical')).toBe(true);
    expect(found.tensors.length).toBe(58);
    expect(found).toMatchObject({ first: null, unknown: [], missing: [], bisection: { roots: [] } });
    expect(found.tokens).toMatchObject({ compared: 3, equal: 3, verdict: 'identical' });
  });

  it.each(['bfloat16', 'float16'] as const)(
    'in %s is within the noise of that, and identical to the emulation',
    async (dtype) => {
      const model = load('austen-mistral');
      const narrow = load('austen-mistral', { precision: dtype });
      const theirs = await trace(narrow, IDS, { capture: 'all', steps: 4 });
      const found = await compare(theirs, model, { bisect: true });
      expect(found).toMatchObject({ dtype, precision: 'float32', verdict: 'within noise', bisection: { roots: [] } });
      expect(tensorOf(found, 'logits').measures!.maxAbs).toBeGreaterThan(1e-3);
      expect(await compare(theirs, narrow)).toMatchObject({ dtype, precision: dtype, verdict: 'identical' });
      // Taken for float32, it is no noise.
      expect((await compare(theirs, model, { dtype: 'float32' })).verdict).toBe('different');
    },
  );

  it('in float64 has the noise of float64', async () => {
    const exact = load('tiny-llama-rope3-f16', { precision: 'float64' });
    const theirs = await trace(exact, IDS, { capture: 'all' });
    const model = load('tiny-llama-rope3-f16');
    expect(await compare(theirs, model)).toMatchObject({
      dtype: 'float64',
      precision: 'float64',
      verdict: 'identical',
    });
    const wrong = planted(theirs, 'layers.1.attention.output', 70, (x) => x * (1 + 1e-9));
    const found = await compare(wrong, exact);
    expect(found).toMatchObject({
      verdict: 'different',
      first: { tensor: 'layers.1.attention.output', position: 1, index: [6] },
    });
    expect((await compare(wrong, model, { dtype: 'float32' })).verdict).toBe('within noise');
  });
});
