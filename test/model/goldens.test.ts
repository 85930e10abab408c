import { describe, expect, it } from 'vitest';
import { GOLDENS } from '../support/fixtures.js';
import { goldenErrors } from '../support/golden-errors.js';

describe.each(GOLDENS)('$name against its golden', (golden) => {
  it('is as close to float64 truth as Hugging Face is, and picks the same tokens', async () => {
    const { ours, huggingFace, float64, tokensEqual, tokens } = await goldenErrors(golden);
    expect(tokensEqual).toBe(tokens);
    expect(ours.rms / huggingFace.rms).toBeLessThanOrEqual(1);
    expect(ours.max / huggingFace.max).toBeLessThanOrEqual(1.5);
    expect(float64).toBeLessThanOrEqual(1e-9);
  });
});

const latent = GOLDENS.filter(({ name }) => name.startsWith('tiny-deepseek'));
const window = GOLDENS.filter(({ name }) => name === 'sinks-4-12-in-cache' || name === 'tiny-mistral-f16');

describe.each([
  ...latent.map((golden) => ({ ...golden, options: { attention: 'mla-naive' } as const })),
  ...GOLDENS.map((golden) => ({ ...golden, options: { ...golden.options, kernel: 'flash' } as const })),
  ...window.map((golden) => ({ ...golden, options: { ...golden.options, cache: 'ring' } as const })),
])('$name with $options', (golden) => {
  it('meets the golden too', async () => {
    const { ours, huggingFace, float64, tokensEqual, tokens } = await goldenErrors(golden);
    expect(tokensEqual).toBe(tokens);
    expect(ours.rms / huggingFace.rms).toBeLessThanOrEqual(1.1);
    expect(float64).toBeLessThanOrEqual(1e-9);
  });
});
