/** Files that look wrong and are not: 31 to 36. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { AUSTEN, bad, damaged, expectUnreadable, newFolder, TINY } from '../support/bad-input.js';
import { tensorsOf, writeTensors } from '../support/checkpoint.js';
import { touchstoneAside } from '../support/cli.js';
import { fixture } from '../support/fixtures.js';
import { entry, safetensors } from '../support/safetensors.js';

/** A file of these entries and these bytes: what `read` finds, by name. */
function read(header: string, data: Uint8Array = new Uint8Array()): Map<string, number[]> {
  const path = join(newFolder(), 'model.safetensors');
  writeFileSync(path, Buffer.concat([safetensors(header), data]));
  return withSafetensors(path, (file) => {
    const bytes = [...file.tensors.keys()].map((name) => [name, file.read(name)] as const);
    const values = (name: string, of: ArrayBuffer) =>
      file.tensors.get(name)!.dtype === 'F32' ? new Float32Array(of) : new Uint8Array(of);
    return new Map(bytes.map(([name, of]) => [name, [...values(name, of)]]));
  });
}

const bytesOf = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const f32 = (shape: string, offsets: string) => entry('F32', shape, offsets);

bad(31, '{} alone is a file of no tensors', async () => {
  expect(read('{}')).toEqual(new Map());
  // As weights it lacks them all, which is another matter.
  const folder = damaged(TINY, (copy) => writeFileSync(join(copy, 'model.safetensors'), safetensors('{}')));
  await expectUnreadable(folder, folder, 'tensor model.embed_tokens.weight is missing');
});

bad(32, 'a scalar has one value', async () => {
  expect(read(`{"a":${f32('[]', '[0,4]')}}`, bytesOf(2.5))).toEqual(new Map([['a', [2.5]]]));
});

bad(33, 'empty tensors may share an offset', async () => {
  const header = `{"b":${f32('[2,0]', '[4,4]')},"a":${f32('[1]', '[0,4]')},"c":${f32('[0]', '[4,4]')},"d":${f32('[0]', '[0,0]')}}`;
  expect(read(header, bytesOf(7))).toEqual(new Map(Object.entries({ b: [], a: [7], c: [], d: [] })));
});

bad(34, 'misaligned data is copied', async () => {
  const header = `{"a":${entry('U8', '[1]', '[0,1]')},"b":${f32('[2]', '[1,9]')}}`;
  const data = Uint8Array.of(9, ...bytesOf(1.5, -2));
  expect(read(header, data)).toEqual(new Map(Object.entries({ a: [9], b: [1.5, -2] })));

  // A model whose tensors all begin at odd bytes answers as it does otherwise.
  const folder = damaged(TINY, (copy) => {
    const file = join(copy, 'model.safetensors');
    const bytes = readFileSync(file);
    const length = Number(bytes.readBigUInt64LE());
    bytes.writeBigUInt64LE(BigInt(length + 1));
    const [start, rest] = [bytes.subarray(0, 8 + length), bytes.subarray(8 + length)];
    writeFileSync(file, Buffer.concat([start, Buffer.from(' '), rest]));
  });
  const args = (model: string) => ['generate', '--model', model, '--ids', '1,2,3', '-n', '8'];
  const [odd, even] = [await touchstoneAside(args(folder)), await touchstoneAside(args(fixture(TINY)))];
  expect(odd).toEqual({ out: even.out, err: '', code: 0 });
});

bad(35, 'a tensor may be named __proto__', async () => {
  const found = read(`{"__proto__":${f32('[1]', '[0,4]')}}`, bytesOf(3));
  expect([...found]).toEqual([['__proto__', [3]]]);
  const folder = damaged(TINY, (copy) => {
    const tensors = tensorsOf(copy);
    writeTensors(copy, [...tensors, { ...tensors[0]!, name: 'proto' }]);
    const file = join(copy, 'model.safetensors');
    const bytes = readFileSync(file);
    const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString();
    const renamed = Buffer.from(header.trimEnd().replace('"proto"', '"__proto__"'));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(renamed.length));
    writeFileSync(file, Buffer.concat([length, renamed, bytes.subarray(8 + header.length)]));
  });
  await expectUnreadable(folder, 'model.safetensors', 'tensor __proto__ is left over');
});

/** A copy of a checkpoint of bfloat16 with a NaN in the last value of a tensor. */
function withNaN(checkpoint: string, tensor: string): string {
  return damaged(checkpoint, (folder) => {
    const tensors = tensorsOf(folder);
    (tensors.find(({ name }) => name === tensor)!.data as Uint16Array).set([0x7fc0], 256 * 64 - 1);
    writeTensors(folder, tensors);
  });
}

bad(36, 'NaN in the data is loaded, and told of where numbers are made of it', async () => {
  const unread = withNaN(TINY, 'model.embed_tokens.weight'); // of a token that is not fed
  const { out } = await touchstoneAside(['inspect', unread]);
  expect(out).toContain('- model.embed_tokens.weight holds NaN or infinity');
  const warning = (folder: string, tensor: string) =>
    `touchstone: ${join(folder, 'model.safetensors')}: tensor "${tensor}" holds NaN or infinity, and so may what is computed of it.\n`;

  const golden = join(newFolder(), 'golden.safetensors');
  const made = await touchstoneAside(['golden', unread, '--ids', '1,2', '--out', golden]);
  expect([made.code, made.err]).toEqual([0, warning(unread, 'model.embed_tokens.weight')]);
  withSafetensors(golden, (file) => {
    expect(new Float32Array(file.read('logits')).every(Number.isFinite)).toBe(true);
  });

  // Where logits are NaN no token is the likeliest: that is a failure, and nothing is written.
  const read = withNaN(TINY, 'lm_head.weight');
  const out36 = join(newFolder(), 'golden.safetensors');
  const failed = await touchstoneAside(['golden', read, '--ids', '1,2', '--out', out36]);
  expect([failed.code, failed.err]).toEqual([
    1,
    `${warning(read, 'lm_head.weight')}touchstone: There are logits that are NaN; \`touchstone inspect\` names weights that are.\n`,
  ]);
  expect(() => readFileSync(out36)).toThrow('ENOENT');

  const austen = withNaN(AUSTEN, 'model.embed_tokens.weight');
  const text = join(newFolder(), 'text.txt');
  writeFileSync(text, 'It was a fine morning.');
  for (const [command, ...more] of [['quality'], ['calibrate', '--out', join(newFolder(), 'scales.json')]]) {
    const found = await touchstoneAside([command!, austen, '--text', text, ...more]);
    expect(found.err).toContain(warning(austen, 'model.embed_tokens.weight'));
  }
});
