/** Tokenizers that cannot be trusted, and tokens that are not what they look like: 47 to 50. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { AUSTEN, bad, damaged, expectUnreadable, TINY } from '../support/bad-input.js';
import { makeChain } from '../support/chain.js';
import { editJson } from '../support/checkpoint.js';
import { MAIN, touchstoneAside } from '../support/cli.js';

type Json = Record<string, unknown>;

const tokenized = (change: (value: Json) => Json) =>
  damaged(AUSTEN, (folder) => editJson(join(folder, 'tokenizer.json'), change));
const magic = { type: 'Magic' };

bad(47, 'an unknown type of model, normaliser, decoder or pre-tokeniser', async () => {
  const variants: [change: (value: Json) => Json, says: string][] = [
    [(value) => ({ ...value, model: { ...(value.model as Json), ...magic } }), 'the key model.type = "Magic"'],
    [(value) => ({ ...value, normalizer: magic }), 'the key normalizer.type = "Magic"'],
    [(value) => ({ ...value, decoder: magic }), 'the key decoder.type = "Magic"'],
    [(value) => ({ ...value, pre_tokenizer: magic }), 'the key pre_tokenizer.type = "Magic"'],
    [
      (value) => ({ ...value, pre_tokenizer: { type: 'Sequence', pretokenizers: [magic] } }),
      'the key pre_tokenizer.pretokenizers.0.type = "Magic"',
    ],
    [(value) => ({ ...value, post_processor: magic }), 'the key post_processor.type = "Magic"'],
  ];
  for (const [change, says] of variants) {
    const folder = tokenized(change);
    await expectUnreadable(folder, `${join(folder, 'tokenizer.json')}: ${says} is not valid`);
  }
});

bad(48, '<0x-1> as a byte token is plain text', async () => {
  const vocab = { '<0x-1>': 0, '<0x41>': 1, '<0xF0>': 2, '<0x1>': 3 };
  const model = { type: 'BPE', byte_fallback: true, vocab, merges: [] };
  const step = { type: 'ByteFallback' };
  for (const decoder of [step, { type: 'Sequence', decoders: [step, { type: 'Fuse' }] }]) {
    const folder = damaged(TINY, (copy) =>
      writeFileSync(join(copy, 'tokenizer.json'), JSON.stringify({ model, decoder })),
    );
    const args = ['generate', '--model', folder, '--ids', '0,1,0,2,3', '-n', '0', '--echo'];
    expect(await touchstoneAside(args)).toEqual({ out: '<0x-1>A<0x-1>\uFFFD<0x1>\n', err: '', code: 0 });
  }
});

bad(49, 'a merge to a missing token', async () => {
  const withMerge = (merge: unknown) =>
    tokenized((value) => {
      const model = value.model as Json & { merges: unknown[] };
      return { ...value, model: { ...model, merges: [...model.merges, merge] } };
    });
  for (const merge of [['Q', 'Q'], 'Q Q']) {
    const folder = withMerge(merge);
    const says = `model.merges.766 = ${JSON.stringify(merge)} needs the token "QQ", which model.vocab lacks`;
    await expectUnreadable(folder, join(folder, 'tokenizer.json'), says);
  }
});

/** What is written, as it comes: the pieces that reach standard output, each by itself. */
async function piecesOf(args: readonly string[]): Promise<Buffer[]> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const pieces: Buffer[] = [];
  child.stdout.on('data', (piece: Buffer) => pieces.push(piece));
  expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
  return pieces;
}

bad(50, 'an emoji that is split over tokens is held back until it is whole', async () => {
  // U+1F600 is F0 9F 98 80; these are the letters that byte-level tokens have for its bytes.
  const folder = damaged(TINY, (copy) => makeChain(copy, ['a', 'ð', 'Ł', 'ĺ', 'Ģ', 'b']));
  const args = ['generate', '--model', folder, '--ids', '0', '-n'];
  const whole = new TextDecoder('utf-8', { fatal: true });
  const pieces = (await piecesOf([...args, '5'])).map((piece) => whole.decode(piece));
  expect(pieces.join('')).toBe('😀b\n');
  for (const piece of pieces) expect(piece).not.toMatch(/\uFFFD|[\uD800-\uDFFF]$/u);
  // What never becomes whole is let out at the end, as Python's `tokenizers` decodes it.
  expect((await piecesOf([...args, '3'])).join('')).toBe('\uFFFD\n');
  // In JSON, and after a prompt that ends inside of it, too.
  const { out } = await touchstoneAside([...args, '4', '--json']);
  expect(JSON.parse(out)).toMatchObject({ ids: [1, 2, 3, 4], text: '😀' });
  expect((await piecesOf(['generate', '--model', folder, '--ids', '0,1,2', '-n', '3'])).join('')).toBe('😀b\n');
});
