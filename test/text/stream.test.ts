import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { detokenizer, stopFilter } from '../../src/text/stream.js';
import { loadTokenizer } from '../../src/text/tokenizer.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

const tokenizer = loadTokenizer(fixture('austen-llama'), 1024)!;

describe('streaming', () => {
  const stream = (ids: readonly number[]): string[] => {
    const pieces = detokenizer(tokenizer);
    return [...ids.map((id) => pieces.push(id)), pieces.end()];
  };

  test.prop([fc.array(fc.integer({ min: 0, max: 1023 }))], { numRuns: 300 })(
    'gives, piece by piece, the decoding of the whole: any tokens',
    (ids) => {
      expect(stream(ids).join('')).toBe(tokenizer.decode(ids));
    },
  );

  test.prop([fc.string({ unit: 'grapheme' })])('and any text', (text) => {
    expect(stream(tokenizer.encode(text)).join('')).toBe(text);
  });

  describe('of byte tokens', () => {
    const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    const vocab = Object.fromEntries([...bytes, '▁the', '▁cat', 's', '▁'].map((token, id) => [token, id]));
    const decoders = [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ];
    const make = () => {
      const folder = temporaryFolder();
      const model = { type: 'BPE', byte_fallback: true, vocab, merges: [] };
      writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify({ model, decoder: { type: 'Sequence', decoders } }));
      return loadTokenizer(folder, 260)!;
    };
    const [THE, CAT] = [256, 257];

    it('gives the decoding of the whole, whatever the bytes', () => {
      const spm = make();
      const token = fc.oneof(fc.integer({ min: 0, max: 259 }), fc.constantFrom(0xe5, 0xa5, 0xbd, THE, CAT, 258));
      fc.assert(
        fc.property(fc.array(token), fc.nat(12), (ids, cut) => {
          // A prompt that ends inside a run of bytes is decoded as far as it goes, which is not a part of the whole.
          fc.pre(cut === 0 || !spm.isByte(ids[Math.min(cut, ids.length) - 1] ?? THE));
          const pieces = detokenizer(spm, ids.slice(0, cut));
          const out = ids.slice(cut).map((id) => pieces.push(id));
          expect(spm.decode(ids.slice(0, cut)) + out.join('') + pieces.end()).toBe(spm.decode(ids));
        }),
        { numRuns: 500 },
      );
    });

    it('lets nothing of a run of bytes out before it is over: it is text as a whole, or not at all', () => {
      const spm = make();
      const ids = [...Buffer.from('好'), 0xe5, THE];
      const pieces = detokenizer(spm);
      const out = ids.map((id) => pieces.push(id));
      expect(out).toEqual(['', '', '', '', '\uFFFD\uFFFD\uFFFD\uFFFD the']);
      expect(out.join('')).toBe(spm.decode(ids));
    });

    it('keeps characters of three bytes whole, and the space after the prompt', () => {
      const spm = make();
      const pieces = detokenizer(spm);
      expect([...Buffer.from('好世早'), CAT].map((id) => pieces.push(id)).join('')).toBe('好世早 cat');
      expect(detokenizer(spm, [THE]).push(CAT)).toBe(' cat');
    });

    it('goes on after a prompt that ends in a run of bytes, or in the middle of a character', () => {
      const spm = make();
      expect(detokenizer(spm, [...Buffer.from('好世早')]).push(THE)).toBe(' the');
      const pieces = detokenizer(spm, [THE, 0xe5, 0xa5]);
      expect([pieces.push(0xbd), pieces.push(CAT)]).toEqual(['', '好 cat']);
      const emoji = tokenizer.encode('😀').slice(1);
      expect(detokenizer(tokenizer, emoji.slice(0, -1)).push(emoji.at(-1)!)).toBe('😀');
    });
  });

  test.prop([
    fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c') })),
    fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), {
      minLength: 1,
      maxLength: 3,
    }),
  ])('stops before the first stop text, however the text is cut', (pieces, stops) => {
    const filter = stopFilter(stops);
    const out = pieces.map((piece) => filter.push(piece)).join('') + (filter.hit === null ? filter.end() : '');
    const text = pieces.join('');
    const hit = stops.filter((stop) => text.includes(stop));
    if (hit.length === 0) expect([out, filter.hit]).toEqual([text, null]);
    else {
      expect(hit).toContain(filter.hit);
      expect(text.startsWith(out + filter.hit)).toBe(true);
      // Nothing of a stop text that was complete is ever let through.
      for (const stop of stops) expect(out.includes(stop)).toBe(false);
    }
  });
});
