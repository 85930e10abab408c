import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeByteFallback } from '../../src/text/byte-fallback.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { temporaryFolder } from '../support/fixtures.js';

describe('byte fallback', () => {
  it.each<[string[], string[]]>([
    [
      ['a', '<0xF0>', '<0x9F>', '<0x98>', '<0x80>', 'b'],
      ['a', '😀', 'b'],
    ],
    [['<0xEF>', '<0xBB>', '<0xBF>'], ['\uFEFF']],
    [['<0xF0>', '<0x9F>'], ['\uFFFD\uFFFD']],
    [['<0x-1>'], ['<0x-1>']],
    [['<0x+A>'], ['\n']],
    [
      ['<0x1g>', '<0x41>'],
      ['<0x1g>', 'A'],
    ],
  ])('%j becomes %j', (tokens, pieces) => {
    expect(decodeByteFallback(tokens)).toEqual(pieces);
  });

  it('replaces that of the library, in a sequence of decoders and alone', () => {
    const bpe = { type: 'BPE', byte_fallback: true, vocab: { '<0x-1>': 0, '<0x41>': 1 }, merges: [] };
    const step = { type: 'ByteFallback' };
    for (const decoder of [step, { type: 'Sequence', decoders: [step, { type: 'Fuse' }] }]) {
      const folder = join(temporaryFolder(), 'model');
      mkdirSync(folder);
      writeFileSync(
        join(folder, 'tokenizer.json'),
        JSON.stringify({
          added_tokens: [],
          normalizer: null,
          pre_tokenizer: null,
          post_processor: null,
          decoder,
          model: bpe,
        }),
      );
      expect(loadTokenizer(folder, 2)!.decode([0, 1])).toBe('<0x-1>A');
    }
  });
});
