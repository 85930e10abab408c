/**
 * Tokenizers of every form against what the native `tokenizers` made of the same texts and tokens.
 *
 * usage: npm run report:tokenizers
 */
import { CORPUS, type Difference, differences, KINDS, recordedOf, tokenizerOf } from '../support/tokenizers.js';

const WHAT: readonly Difference['what'][] = [
  'encode',
  'encode without special tokens',
  'decode',
  'decode with special tokens',
  'decode tokens',
];

console.log(`| form | texts | random tokens | ${WHAT.join(' | ')} |`);
console.log(`| --- | ${['', '', ...WHAT].map(() => '---:').join(' | ')} |`);
for (const kind of KINDS) {
  const recorded = recordedOf(kind);
  const found = differences(tokenizerOf(kind), recorded);
  const counts = WHAT.map((what) => found.filter((difference) => difference.what === what).length);
  console.log(`| ${kind} | ${CORPUS.length} | ${recorded.tokens.length} | ${counts.join(' | ')} |`);
  for (const { what, input, expected, got } of found.slice(0, 3)) {
    console.error(
      `${kind}, ${what}, ${JSON.stringify(input)}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`,
    );
  }
}
