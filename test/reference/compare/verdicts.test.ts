import { expect, it } from 'vitest';
import { VERDICTS, worstOf } from '../../../src/reference/compare/comparison.js';

it('verdicts are ordered from best to worst', () => {
  expect(worstOf([])).toBe('identical');
  for (const [i, verdict] of VERDICTS.entries()) expect(worstOf(VERDICTS.slice(0, i + 1))).toBe(verdict);
});
