import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { FIXTURES } from './support/fixtures.js';

const files = readdirSync(FIXTURES, { recursive: true, encoding: 'utf8' })
  .filter((name) => statSync(join(FIXTURES, name)).isFile())
  .sort();

it('holds exactly the files of the manifest, with their hashes', () => {
  const { sha256 } = JSON.parse(readFileSync(join(FIXTURES, 'manifest.json'), 'utf8'));
  const made = files.filter(
    (name) => !name.startsWith('generate') && !['manifest.json', 'README.md', 'TRACE.md'].includes(name),
  );
  const found = made.map((name) => [
    name,
    createHash('sha256')
      .update(readFileSync(join(FIXTURES, name)))
      .digest('hex'),
  ]);
  expect(Object.fromEntries(found)).toEqual(sha256);
});

it('is under 40 MB', () => {
  const bytes = files.reduce((sum, name) => sum + statSync(join(FIXTURES, name)).size, 0);
  expect(bytes).toBeLessThan(40e6);
});

it('has under 20 MB of random checkpoints', () => {
  const random = files.filter((name) => name.startsWith('tiny-') || name.startsWith('families'));
  expect(random.reduce((sum, name) => sum + statSync(join(FIXTURES, name)).size, 0)).toBeLessThan(20e6);
});
