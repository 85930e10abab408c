import { describe, expect, it } from 'vitest';
import { patternOf, splitText } from '../../src/text/patterns.js';
import type { SplitBehavior } from '../../src/text/tokenizer-json.js';

describe('a split (as the native `tokenizers` 0.23 does it)', () => {
  it.each<[SplitBehavior, inverted: boolean, text: string, pieces: string[]]>([
    ['Removed', false, '--a--b-c-', ['a', 'b', 'c']],
    ['Removed', false, 'a--b', ['a', 'b']],
    ['Removed', false, ' -', [' ']],
    ['Removed', true, '--a--b-c-', ['-', '-', '-', '-', '-', '-']],
    ['Removed', true, 'a--b', ['-', '-']],
    ['Removed', true, ' -', ['-']],
    ['Isolated', false, '--a--b-c-', ['-', '-', 'a', '-', '-', 'b', '-', 'c', '-']],
    ['Isolated', false, 'a--b', ['a', '-', '-', 'b']],
    ['Isolated', false, ' -', [' ', '-']],
    ['Isolated', true, '--a--b-c-', ['-', '-', 'a', '-', '-', 'b', '-', 'c', '-']],
    ['Isolated', true, 'a--b', ['a', '-', '-', 'b']],
    ['Isolated', true, ' -', [' ', '-']],
    ['MergedWithPrevious', false, '--a--b-c-', ['-', '-', 'a-', '-', 'b-', 'c-']],
    ['MergedWithPrevious', false, 'a--b', ['a-', '-', 'b']],
    ['MergedWithPrevious', false, ' -', [' -']],
    ['MergedWithPrevious', true, '--a--b-c-', ['-', '-a', '-', '-b', '-c', '-']],
    ['MergedWithPrevious', true, 'a--b', ['a', '-', '-b']],
    ['MergedWithPrevious', true, ' -', [' ', '-']],
    ['MergedWithNext', false, '--a--b-c-', ['-', '-a', '-', '-b', '-c', '-']],
    ['MergedWithNext', false, 'a--b', ['a', '-', '-b']],
    ['MergedWithNext', false, ' -', [' ', '-']],
    ['MergedWithNext', true, '--a--b-c-', ['-', '-', 'a-', '-', 'b-', 'c-']],
    ['MergedWithNext', true, 'a--b', ['a-', '-', 'b']],
    ['MergedWithNext', true, ' -', [' -']],
    ['Contiguous', false, '--a--b-c-', ['--', 'a', '--', 'b', '-', 'c', '-']],
    ['Contiguous', false, 'a--b', ['a', '--', 'b']],
    ['Contiguous', false, ' -', [' ', '-']],
    ['Contiguous', true, '--a--b-c-', ['--', 'a', '--', 'b', '-', 'c', '-']],
    ['Contiguous', true, 'a--b', ['a', '--', 'b']],
    ['Contiguous', true, ' -', [' ', '-']],
  ])('%s, inverted %s, of %j is %j', (behavior, inverted, text, pieces) => {
    expect(splitText(text, patternOf({ String: '-' }), behavior, inverted)).toEqual(pieces);
  });

  it.each<[regex: string, text: string, pieces: string[]]>([
    ["(?i:'s|'k|'ll)", "a'\u017fb'Kc'LLd'S", ['a', "'\u017f", 'b', "'K", 'c', "'LL", 'd', "'S"]],
    ["'(?i:[sdmt]|ll)", "a'\u017ftb'LLc'T", ['a', "'\u017f", 'tb', "'LL", 'c', "'T"]],
    ['(?i:s)|k', '\u017fsSKk', ['\u017f', 's', 'S', 'K', 'k']],
  ])('by %s, where case is ignored for all of Unicode, of %j is %j', (regex, text, pieces) => {
    expect(splitText(text, patternOf({ Regex: regex }), 'Isolated')).toEqual(pieces);
  });
});
