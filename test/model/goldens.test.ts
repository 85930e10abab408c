import { describe, expect, it } from 'vitest';
import { CHECKPOINTS } from '../support/fixtures.js';
import { goldenErrors } from '../support/golden-errors.js';

describe.each(CHECKPOINTS)('%s against its golden', (name) => {
  it('is as close to float64 truth as Hugging Face is, and picks the same tokens', async () => {
    const { ours, huggingFace, float64, tokensEqual, tokens } = await goldenErrors(name);
    expect(tokensEqual).toBe(tokens);
    expect(ours.rms / huggingFace.rms).toBeLessThanOrEqual(1);
    expect(ours.max / huggingFace.max).toBeLessThanOrEqual(1.5);
    expect(float64).toBeLessThanOrEqual(1e-9);
  });
});
