import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from './support/fixtures.js';

/** The layers of the code, lowest first: a file imports from its own layer and from lower ones. */
const LAYERS: readonly (readonly string[])[] = [
  ['src/embedded.ts', 'src/errors.ts', 'src/files.ts', 'src/version.ts'],
  ['src/tensor'],
  ['src/math'],
  ['attention'],
  ['src/checkpoint'],
  ['src/text'],
  ['src/model'],
  ['src/generate'],
  ['src/reference'],
  ['src/index.ts', 'src/vitest.ts'],
  ['cli'],
];

function layerOf(file: string): number {
  const layer = LAYERS.findIndex((parts) => parts.some((part) => file === part || file.startsWith(`${part}/`)));
  expect(layer, `${file} belongs to a layer`).toBeGreaterThanOrEqual(0);
  return layer;
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const paths = [...text.matchAll(/(?:from|import) ?\(?'(\.[^']*)'/g)].map(([, path]) => path!);
  return paths.map((path) => relative(ROOT, resolve(ROOT, dirname(file), path)).replace(/\.js$/, '.ts'));
}

const sources = ['src', 'attention', 'cli']
  .flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
  )
  .filter((name) => name.endsWith('.ts'));

it.each(sources)('%s imports from its own layer and lower ones alone', (file) => {
  for (const imported of importsOf(file)) {
    expect(layerOf(imported), `${file} imports ${imported}`).toBeLessThanOrEqual(layerOf(file));
  }
});

it('has the concepts of attention know nothing of each other', () => {
  const concepts = ['strategy', 'visibility', 'cache', 'kernel'];
  for (const concept of concepts) {
    for (const file of sources.filter((name) => name.startsWith(`attention/${concept}/`))) {
      const others = importsOf(file).filter((path) =>
        concepts.some((other) => other !== concept && path.startsWith(`attention/${other}/`)),
      );
      // A kernel asks the rule that its call carries, through the interface alone.
      expect(
        others.filter((path) => !(concept === 'kernel' && path === 'attention/visibility/visibility.ts')),
        file,
      ).toEqual([]);
    }
  }
});
