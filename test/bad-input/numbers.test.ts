import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('has every bad input from 1 to 56 once', () => {
  const folder = dirname(fileURLToPath(import.meta.url));
  const files = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
  const calls = files.flatMap((text) => [...text.matchAll(/^(?:bad|refusesHeader)\(\s*(\d+),/gm)]);
  const numbers = calls.map(([, number]) => Number(number)).sort((a, b) => a - b);
  expect(numbers).toEqual(Array.from({ length: 56 }, (_, i) => i + 1));
});
