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

/** Every way a file is wrong: [what, bytes, what the message must say]. */
const MALFORMED: readonly [what: string, bytes: Uint8Array, message: string][] = [
  ['an empty file', new Uint8Array(0), 'at least 8 bytes, got 0'],
  ['a file of 7 bytes', new Uint8Array(7), 'at least 8 bytes, got 7'],
  ['a header of length 0', safetensors(''), 'the header is empty'],
  ['a header past the end', safetensors('{}', 0, 100n), 'claims 100 bytes, and the file ends after 2'],
  ['a header over 100 MB', safetensors('{}', 0, 100_000_001n), 'at most 100000000 are allowed'],
  ['a header of 2^64 - 1 bytes', safetensors('{}', 0, 2n ** 64n - 1n), 'claims 18446744073709551615 bytes'],
  ['invalid UTF-8', safetensors(Uint8Array.of(0x7b, 0xff, 0x7d)), 'not valid UTF-8'],
  ['a byte-order mark', safetensors('\uFEFF{}'), 'the header: expected an object'],
  ['a lone surrogate', safetensors(`{"\\ud800":${f32('[1]', '[0,4]')}}`, 4), 'half of a surrogate pair'],
  ['NUL padding', safetensors('{}\0\0'), 'nothing but spaces'],
  ['a root array', safetensors('[]'), 'the header: expected an object'],
  ['a root null', safetensors('null'), 'the header: expected an object'],
  ['nesting 100,000 deep', safetensors(`{"a":${'['.repeat(100_000)}`), 'tensor "a": expected an object'],
  ['metadata with a number', safetensors('{"__metadata__":{"a":1}}'), '__metadata__ "a": expected a string'],
  ['metadata with an object', safetensors('{"__metadata__":{"a":{}}}'), '__metadata__ "a": expected a string'],
  ['metadata twice', safetensors('{"__metadata__":{},"__metadata__":{}}'), '__metadata__ stands in the header twice'],
  [
    'a field twice',
    safetensors('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
    'tensor "a" has the field dtype twice',
  ],
  [
    'an unknown field',
    safetensors('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}', 4),
    'tensor "a" has an unknown field "x"',
  ],
  ['a missing field', safetensors('{"a":{"dtype":"F32","shape":[1]}}', 4), 'tensor "a" lacks data_offsets'],
  [
    'a hole at the start',
    safetensors(`{"a":${f32('[1]', '[4,8]')}}`, 8),
    'bytes 0 to 4 of the data, before tensor "a"',
  ],
  [
    'a hole in the middle',
    safetensors(`{"a":${f32('[1]', '[0,4]')},"b":${f32('[1]', '[8,12]')}}`, 12),
    'bytes 4 to 8 of the data, before tensor "b"',
  ],
  [
    'an overlap',
    safetensors(`{"a":${f32('[2]', '[0,8]')},"b":${f32('[2]', '[4,12]')}}`, 12),
    'tensor "b" begins at byte 4 of the data, inside another',
  ],
  [
    'one span used twice',
    safetensors(`{"a":${f32('[1]', '[0,4]')},"b":${f32('[1]', '[0,4]')}}`, 4),
    'inside another tensor',
  ],
  [
    'an end before the beginning',
    safetensors(`{"a":${f32('[1]', '[4,0]')}}`, 4),
    'tensor "a" ends at byte 0, before it begins at 4',
  ],
  [
    'a negative offset',
    safetensors(`{"a":${f32('[1]', '[-4,0]')}}`, 4),
    'the data_offsets of tensor "a": expected a whole number',
  ],
  ['8.0', safetensors(`{"a":${f32('[2]', '[0,8.0]')}}`, 8), 'expected a whole number'],
  ['8e0', safetensors(`{"a":${f32('[2]', '[0,8e0]')}}`, 8), 'expected a whole number'],
  ['-0', safetensors(`{"a":${f32('[2]', '[-0,8]')}}`, 8), 'expected a whole number'],
  [
    'a leading zero',
    safetensors(`{"a":${f32('[02]', '[0,8]')}}`, 8),
    'the shape of tensor "a": expected a whole number',
  ],
  ['three offsets', safetensors(`{"a":${f32('[1]', '[0,4,4]')}}`, 4), 'tensor "a" has 3 data_offsets'],
  [
    'data past the end',
    safetensors(`{"a":${f32('[2]', '[0,8]')}}`, 4),
    'tensor "a" ends at byte 8 of the data, and the file holds 4',
  ],
  ['one byte trailing', safetensors(`{"a":${f32('[1]', '[0,4]')}}`, 5), '1 bytes after the last tensor'],
  [
    'one byte short',
    safetensors(`{"a":${f32('[1]', '[0,4]')}}`, 3),
    'tensor "a" ends at byte 4 of the data, and the file holds 3',
  ],
  ['a shape too small for its span', safetensors(`{"a":${f32('[1]', '[0,8]')}}`, 8), 'F32 of shape [1] takes 4 bytes'],
  [
    'a shape that disagrees with the size',
    safetensors(`{"a":${f32('[3]', '[0,8]')}}`, 8),
    'F32 of shape [3] takes 12 bytes, and its data_offsets span 8',
  ],
  ['a shape of [2^63, 2]', safetensors(`{"a":${f32('[9223372036854775808,2]', '[0,0]')}}`), 'impossible shape'],
  ['a shape of [2^63, 2, 0]', safetensors(`{"a":${f32('[9223372036854775808,2,0]', '[0,0]')}}`), 'impossible shape'],
  ['a shape of [0, 2^63, 2]', safetensors(`{"a":${f32('[0,9223372036854775808,2]', '[0,0]')}}`), 'impossible shape'],
  ['an integer of 65 bits', safetensors(`{"a":${f32('[18446744073709551616]', '[0,0]')}}`), 'does not fit 64 bits'],
  ['an unknown dtype', safetensors(`{"a":${entry('F33', '[1]', '[0,4]')}}`, 4), 'tensor "a" has the dtype "F33"'],
  ['a dtype in lower case', safetensors(`{"a":${entry('f32', '[1]', '[0,4]')}}`, 4), 'tensor "a" has the dtype "f32"'],
  [
    'a dtype that objects have by nature',
    safetensors(`{"a":${entry('toString', '[1]', '[0,4]')}}`, 4),
    'has the dtype "toString"',
  ],
  [
    'an odd number of 4-bit values',
    safetensors(`{"a":${entry('F4', '[3]', '[0,1]')}}`, 1),
    'does not fill whole bytes',
  ],
  [
    'a name twice',
    safetensors(`{"a":${f32('[1]', '[0,4]')},"a":${f32('[1]', '[0,4]')}}`, 4),
    'tensor "a" stands in the header twice',
  ],
  ['a metadata key twice', safetensors('{"__metadata__":{"a":"1","a":"2"}}'), '__metadata__ has the key "a" twice'],
  ['a bad escape', safetensors('{"\\x":1}'), 'not a valid JSON string'],
  ['a control character in a name', safetensors('{"a\nb":1}'), 'not a valid JSON string'],
  ['a trailing comma', safetensors(`{"a":${f32('[1]', '[0,4]')},}`, 4), 'a key of the header: expected a string'],
  ['a header that ends early', safetensors('{"a":'), 'got the end of the header'],
  ['a Git LFS pointer', Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\n'), 'git lfs pull'],
];

const WELL_FORMED: readonly [what: string, bytes: Uint8Array, names: string[]][] = [
  ['no tensors', safetensors('{}'), []],
  ['a scalar', safetensors(`{"a":${f32('[]', '[0,4]')}}`, 4), ['a']],
  [
    'empty tensors that share an offset',
    safetensors(`{"a":${f32('[0]', '[0,0]')},"b":${f32('[2,0]', '[0,0]')},"c":${f32('[1]', '[0,4]')}}`, 4),
    ['a', 'b', 'c'],
  ],
  ['misaligned data', safetensors(`{"a":${entry('U8', '[1]', '[0,1]')},"b":${f32('[1]', '[1,5]')}}`, 5), ['a', 'b']],
  ['a tensor named __proto__', safetensors(`{"__proto__":${f32('[1]', '[0,4]')}}`, 4), ['__proto__']],
  ['spaces and line breaks', safetensors(` {\n "a" :\t${f32('[ 1 ]', '[ 0 , 4 ]')} \r\n }   `, 4), ['a']],
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
