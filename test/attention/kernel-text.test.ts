/** What a docstring shows of a kernel's text is the text. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { sumsSource } from '../../attention/kernel/gpu/fold-sources.js';
import { scoresSource } from '../../attention/kernel/gpu/scores-source.js';
import { PLAIN_SCORES } from '../../attention/scores.js';
import type { StoredStream } from '../../attention/stored.js';
import { ROOT } from '../support/fixtures.js';

const stream: StoredStream = { name: 'rows', heads: 2, dim: 64, form: { kind: 'numbers' } };

/** Lines without their indentation, and without empty ones. */
const lines = (text: string) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

it.each([
  ['scores-source.ts', scoresSource([stream], 1, PLAIN_SCORES, 'listed').text],
  ['fold-sources.ts', sumsSource(stream, 1, 256, 'paged', false).text],
])('%s', (file, text) => {
  const comment = readFileSync(join(ROOT, 'attention/kernel/gpu', file), 'utf8');
  const [, shown] = /```js\n([\s\S]*?) \* ```/.exec(comment)!;
  expect(lines(shown!.replaceAll(/^ \* ?/gm, ''))).toEqual(lines(text));
});
