import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import safetensorsPackage from 'safetensors';
import { describe, expect, it } from 'vitest';
import { openSafetensors, withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { writeSafetensors } from '../../src/checkpoint/safetensors/write.js';
import { CheckpointError } from '../../src/errors.js';
import { CHECKPOINTS, fixture, temporaryFolder } from '../support/fixtures.js';
import { entry, safetensors } from '../support/safetensors.js';

const f32 = (shape: string, offsets: string) => entry('F32', shape, offsets);

/** Ways in which a file is wrong, beside the numbered ones of test/bad-input/headers.test.ts: [what, bytes, what the message must say]. */
const MALFORMED: readonly [what: string, bytes: Uint8Array, message: string][] = [
  [
    'an unknown field',
    safetensors('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}', 4),
    'tensor "a" has an unknown field "x"',
  ],
  ['a missing field', safetensors('{"a":{"dtype":"F32","shape":[1]}}', 4), 'tensor "a" lacks data_offsets'],
  [
    'a leading zero',
    safetensors(`{"a":${f32('[02]', '[0,8]')}}`, 8),
    'the shape of tensor "a": expected a whole number',
  ],
  ['an integer of 65 bits', safetensors(`{"a":${f32('[18446744073709551616]', '[0,0]')}}`), 'does not fit 64 bits'],
  [
    'a dtype that objects have by nature',
    safetensors(`{"a":${entry('toString', '[1]', '[0,4]')}}`, 4),
    'has the dtype "toString"',
  ],
  ['a bad escape', safetensors('{"\\x":1}'), 'not a valid JSON string'],
  ['a control character in a name', safetensors('{"a\nb":1}'), 'not a valid JSON string'],
  ['metadata that are no object', safetensors('{"__metadata__":nul}'), '__metadata__: expected an object, got "nul}"'],
  [
    'null metadata twice',
    safetensors('{"__metadata__":null,"__metadata__":{}}'),
    '__metadata__ stands in the header twice',
  ],
  ['a tensor that is null', safetensors('{"a":null}'), 'tensor "a": expected an object, got "null}"'],
  ['a trailing comma', safetensors(`{"a":${f32('[1]', '[0,4]')},}`, 4), 'a key of the header: expected a string'],
  ['a header that ends early', safetensors('{"a":'), 'got the end of the header'],
];

const WELL_FORMED: readonly [what: string, bytes: Uint8Array, names: string[]][] = [
  ['spaces and line breaks', safetensors(` {\n "a" :\t${f32('[ 1 ]', '[ 0 , 4 ]')} \r\n }   `, 4), ['a']],
  ['metadata that are null', safetensors(`{"__metadata__": null,"a":${f32('[1]', '[0,4]')}}`, 4), ['a']],
  ['an escaped pair of surrogates', safetensors(`{"\\ud83d\\ude00":${f32('[1]', '[0,4]')}}`, 4), ['😀']],
];

function stored(bytes: Uint8Array): string {
  const path = join(temporaryFolder(), 'model.safetensors');
  writeFileSync(path, bytes);
  return path;
}

describe('reading safetensors', () => {
  it.each(MALFORMED)('refuses %s', (_, bytes, message) => {
    const path = stored(bytes);
    expect(() => openSafetensors(path)).toThrow(CheckpointError);
    expect(() => openSafetensors(path)).toThrow(message);
    expect(() => openSafetensors(path)).toThrow(path);
  });

  it.each(WELL_FORMED)('accepts %s', (_, bytes, names) => {
    withSafetensors(stored(bytes), (file) => {
      expect([...file.tensors.keys()]).toEqual(names);
      for (const name of names)
        expect(file.read(name).byteLength).toBe(file.tensors.get(name)!.end - file.tensors.get(name)!.begin);
    });
  });

  it('names what is not there', () => {
    expect(() => openSafetensors('/nowhere/model.safetensors')).toThrow(
      '/nowhere/model.safetensors: cannot be opened (ENOENT).',
    );
    expect(() => openSafetensors(temporaryFolder())).toThrow('expected a file, got a folder');
    expect(() => withSafetensors(stored(safetensors('{}')), (file) => file.read('a'))).toThrow(
      'there is no tensor "a"',
    );
  });

  const original = readFileSync(fixture('tiny-llama-linear-bf16/model.safetensors'));
  test.prop(
    [
      fc.array(fc.tuple(fc.integer({ min: 0, max: 2500 }), fc.integer({ min: 0, max: 255 })), {
        minLength: 1,
        maxLength: 4,
      }),
    ],
    { numRuns: 300 },
  )('either reads a damaged file or refuses it, and does nothing else', (changes) => {
    const damaged = Uint8Array.from(original);
    for (const [at, value] of changes) damaged[at] = value;
    try {
      withSafetensors(stored(damaged), (file) => file.tensors.size);
    } catch (error) {
      expect(error).toBeInstanceOf(CheckpointError);
    }
  });

  it.each(CHECKPOINTS)('agrees with the npm package `safetensors` on %s', (name) => {
    // That package cannot skip __metadata__, and takes a Buffer's whole memory for the file: give it neither.
    const path = fixture(`${name}/model.safetensors`);
    withSafetensors(path, (file) => {
      const bytes = Uint8Array.from(readFileSync(path));
      const header = new TextDecoder().decode(bytes.subarray(8, file.dataStart));
      const plain = header.replace('"__metadata__":{"format":"pt"},', '').padEnd(header.length);
      const other = new safetensorsPackage.SafeTensor(
        Buffer.from(
          Uint8Array.from([...bytes.subarray(0, 8), ...Buffer.from(plain), ...bytes.subarray(file.dataStart)]).buffer,
        ),
      );
      expect([...other.metadata.keys()].sort()).toEqual([...file.tensors.keys()].sort());
      for (const tensor of file.tensors.keys())
        expect(Buffer.from(file.read(tensor)).equals(other.getTensor(tensor))).toBe(true);
    });
  });
});

describe('writing safetensors', () => {
  const tensors = fc.uniqueArray(
    fc.record({
      name: fc.string({ unit: 'grapheme', maxLength: 8 }).filter((name) => name !== '__metadata__'),
      values: fc.array(fc.double(), { maxLength: 9 }),
      wide: fc.boolean(),
    }),
    { selector: ({ name }) => name, maxLength: 5 },
  );
  test.prop([tensors, fc.dictionary(fc.string(), fc.string())])(
    'gives a file that reads back the same',
    (given, metadata) => {
      const path = join(temporaryFolder(), 'out.safetensors');
      const written = given.map(({ name, values, wide }) => ({
        name,
        dtype: wide ? ('F64' as const) : ('F32' as const),
        shape: [values.length],
        data: wide ? Float64Array.from(values) : Float32Array.from(values),
      }));
      writeSafetensors(path, written, metadata);
      withSafetensors(path, (file) => {
        expect(file.tensors.size).toBe(written.length);
        expect(Object.fromEntries(file.metadata)).toEqual({ ...metadata });
        expect(file.dataStart % 8).toBe(0);
        for (const { name, dtype, data } of written) {
          expect(file.tensors.get(name)?.dtype).toBe(dtype);
          expect(new Uint8Array(file.read(name))).toEqual(new Uint8Array(data.buffer));
        }
      });
    },
  );

  it('refuses what could not be read back', () => {
    const path = join(temporaryFolder(), 'out.safetensors');
    const tensor = { name: 'a', dtype: 'F32' as const, shape: [2], data: new Float32Array(2) };
    expect(() => writeSafetensors(path, [{ ...tensor, shape: [3] }])).toThrow(
      'Tensor a: F32 of shape [3] does not fill 8 bytes',
    );
    expect(() => writeSafetensors(path, [tensor, tensor])).toThrow('Tensor a cannot be written under this name');
  });

  it('leaves nothing behind when it cannot write', () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'taken'));
    expect(() => writeSafetensors(join(folder, 'taken'), [])).toThrow('taken: cannot be written (EISDIR).');
    expect(readdirSync(folder)).toEqual(['taken']);
    expect(() => writeSafetensors('/nowhere/out.safetensors', [])).toThrow(
      '/nowhere/out.safetensors: cannot be written (ENOENT).',
    );
  });
});
