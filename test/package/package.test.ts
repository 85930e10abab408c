import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { fixture, ROOT } from '../support/fixtures.js';

interface Packed {
  readonly size: number;
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

it('packs what runs, its types, the embedded checkpoint, the format of traces and the dumpers, and nothing else that is heavy', () => {
  const [packed] = JSON.parse(
    execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, encoding: 'utf8' }),
  ) as [Packed];
  const names = packed.files.map(({ path }) => path);
  const outside = names.filter((name) => !/^dist\/(src|attention|cli)\/.*\.(js|d\.ts)$/.test(name)).sort();
  const embedded = readdirSync(fixture('austen-llama')).filter((name) => !name.startsWith('golden'));
  const traces = ['fixtures/TRACE.md', 'fixtures/trace.schema.json'];
  const dumpers = readdirSync(join(ROOT, 'cli/dumpers')).filter((name) => name !== '__pycache__');
  const expected = ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json', ...traces];
  expect(outside).toEqual(
    [
      ...expected,
      ...embedded.map((name) => join('fixtures/austen-llama', name)),
      ...dumpers.map((name) => join('cli/dumpers', name)),
    ].sort(),
  );
  expect(names).toEqual(expect.arrayContaining(['dist/cli/main.js', 'dist/src/index.js', 'dist/src/index.d.ts']));
  expect(packed.size).toBeLessThan(6e6);
});
