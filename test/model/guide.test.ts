/** The guide to adding a family shows what is in the repository. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../support/fixtures.js';

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** What stands in the guide's one block of a language. */
function block(language: string): string {
  const blocks = [...read('src/model/families/README.md').matchAll(/^```(\w+)\n(.*?)^```$/gms)];
  const [first, ...more] = blocks.filter(([, of]) => of === language);
  expect(more).toEqual([]);
  return first![2]!;
}

it('shows the whole file of its family', () => {
  expect(block('ts')).toBe(read('src/model/families/persimmon.ts'));
});

it("shows the lines that make its family's golden", () => {
  expect(block('py')).toContain('"persimmon": family(');
  expect(read('fixtures/generate/families_gpt.py')).toContain(`\n${block('py')}`);
});
