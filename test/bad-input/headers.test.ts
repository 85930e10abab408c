/** Files that are no safetensors files: 1 to 30. Rust's reader refuses 1 to 27 too. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AUSTEN, bad, damaged, expectUnreadable, TINY } from '../support/bad-input.js';
import { entry, safetensors } from '../support/safetensors.js';

type Variant = readonly [bytes: Uint8Array, ...says: string[]];

/** Each variant in the place of a checkpoint's weights. */
function refusesHeader(number: number, what: string, ...variants: Variant[]): void {
  bad(number, what, () => expectAllRefused(TINY, 'model.safetensors', variants));
}

async function expectAllRefused(name: string, file: string, variants: readonly Variant[]): Promise<void> {
  for (const [bytes, ...says] of variants) {
    const folder = damaged(name, (copy) => writeFileSync(join(copy, file), bytes));
    await expectUnreadable(folder, `${join(folder, file)}: `, ...says);
  }
}

/** The same in a file of JSON. */
async function expectJsonRefused(...variants: Variant[]): Promise<void> {
  await expectAllRefused(TINY, 'config.json', variants);
  await expectAllRefused(AUSTEN, 'tokenizer.json', variants);
}

const f32 = (shape: string, offsets: string) => entry('F32', shape, offsets);
/** A tensor named a, with so much data. */
const one = (text: string, dataBytes: number) => safetensors(`{"a":${text}}`, dataBytes);
const deep = (opening: string) => opening.repeat(100_000);

refusesHeader(
  1,
  'an empty file, or one of 7 bytes',
  [new Uint8Array(0), 'at least 8 bytes, got 0'],
  [new Uint8Array(7), 'at least 8 bytes, got 7'],
);

refusesHeader(2, 'a header of length 0', [safetensors(''), 'the header is empty'], [new Uint8Array(8), 'is empty']);

refusesHeader(3, 'a header past the end of the file', [
  safetensors('{}', 0, 3n),
  'the header claims 3 bytes, and the file ends after 2',
]);

refusesHeader(4, 'a header of more than 100 MB', [
  safetensors('{}', 0, 100_000_001n),
  'the header claims 100000001 bytes, and at most 100000000 are allowed',
]);

refusesHeader(5, 'a header of 2^64 - 1 bytes', [
  safetensors('{}', 0, 2n ** 64n - 1n),
  'the header claims 18446744073709551615 bytes',
]);

bad(6, 'invalid UTF-8', async () => {
  const broken = Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d);
  await expectAllRefused(TINY, 'model.safetensors', [[safetensors(broken), 'the header is not valid UTF-8']]);
  await expectJsonRefused([broken, 'the file is not valid UTF-8']);
});

bad(7, 'a byte-order mark', async () => {
  await expectAllRefused(TINY, 'model.safetensors', [
    [safetensors('\uFEFF{}'), 'the header begins with a byte-order mark'],
  ]);
  await expectJsonRefused([Buffer.from('\uFEFF{}'), 'the file begins with a byte-order mark']);
});

refusesHeader(
  8,
  'half of a surrogate pair, escaped',
  [safetensors(`{"\\ud800":${f32('[1]', '[0,4]')}}`, 4), 'a key of the header has half of a surrogate pair'],
  [one(entry('\\udc00', '[1]', '[0,4]'), 4), 'the dtype of tensor "a" has half of a surrogate pair'],
);

refusesHeader(9, 'NUL as padding', [safetensors('{}\0\0'), 'expected nothing but spaces', '"\\u0000\\u0000"']);

refusesHeader(
  10,
  'a header that is [] or null',
  [safetensors('[]'), 'the header: expected an object, got "[]"'],
  [safetensors('null'), 'the header: expected an object, got "null"'],
);

bad(11, 'nesting 100,000 deep', async () => {
  await expectAllRefused(TINY, 'model.safetensors', [
    [safetensors(deep('[')), 'the header: expected an object'],
    [safetensors(deep('{"a":')), 'tensor "a" has an unknown field "a"'],
    [safetensors(`{"a":{"shape":${deep('[')}`), 'the shape of tensor "a": expected a whole number'],
    [safetensors(`{"__metadata__":${deep('{"a":')}`), '__metadata__ "a": expected a string'],
  ]);
  await expectJsonRefused(
    [Buffer.from(deep('{"a":')), 'nested more than 100 deep'],
    [Buffer.from(`{"model_type":${deep('[')}${']'.repeat(100_000)}}`), 'nested more than 100 deep'],
  );
});

refusesHeader(
  12,
  'a metadata value that is a number or an object',
  [safetensors('{"__metadata__":{"a":1}}'), '__metadata__ "a": expected a string, got "1'],
  [safetensors('{"__metadata__":{"a":{}}}'), '__metadata__ "a": expected a string, got "{'],
);

refusesHeader(13, '__metadata__ twice', [
  safetensors('{"__metadata__":{},"__metadata__":{}}'),
  '__metadata__ stands in the header twice',
]);

refusesHeader(
  14,
  'a field of one tensor twice',
  ...['"dtype":"F32"', '"shape":[1]', '"data_offsets":[0,4]'].map(
    (field): Variant => [
      one(`{${field},"dtype":"F32","shape":[1],"data_offsets":[0,4]}`, 4),
      `tensor "a" has the field ${field.split('"')[1]} twice`,
    ],
  ),
);

refusesHeader(
  15,
  'a hole at the start, or in the middle',
  [one(f32('[1]', '[4,8]'), 8), 'bytes 0 to 4 of the data, before tensor "a", belong to no tensor'],
  [
    safetensors(`{"a":${f32('[1]', '[0,4]')},"b":${f32('[1]', '[8,12]')}}`, 12),
    'bytes 4 to 8 of the data, before tensor "b"',
  ],
);

refusesHeader(
  16,
  'an overlap, or one span used twice',
  [
    safetensors(`{"a":${f32('[2]', '[0,8]')},"b":${f32('[2]', '[4,12]')}}`, 12),
    'tensor "b" begins at byte 4 of the data, inside another tensor that ends at 8',
  ],
  [
    safetensors(`{"a":${f32('[1]', '[0,4]')},"b":${f32('[1]', '[0,4]')}}`, 4),
    'tensor "b" begins at byte 0 of the data, inside another',
  ],
);

refusesHeader(17, 'end < begin', [one(f32('[1]', '[4,0]'), 4), 'tensor "a" ends at byte 0, before it begins at 4']);

refusesHeader(18, 'a negative offset', [
  one(f32('[1]', '[-4,0]'), 4),
  'the data_offsets of tensor "a": expected a whole number',
]);

refusesHeader(
  19,
  '8.0, 8e0 and -0 for whole numbers',
  ...['[0,8.0]', '[0,8e0]', '[-0,8]'].map(
    (offsets): Variant => [one(f32('[2]', offsets), 8), 'the data_offsets of tensor "a": expected a whole number'],
  ),
  ...['[2.0]', '[2E0]', '[-0]'].map(
    (shape): Variant => [one(f32(shape, '[0,8]'), 8), 'the shape of tensor "a": expected a whole number'],
  ),
);

refusesHeader(20, 'three offsets', [one(f32('[1]', '[0,4,4]'), 4), 'tensor "a" has 3 data_offsets']);

refusesHeader(21, 'data past the end of the file', [
  one(f32('[2]', '[0,8]'), 4),
  'tensor "a" ends at byte 8 of the data, and the file holds 4',
]);

refusesHeader(22, 'one byte trailing', [one(f32('[1]', '[0,4]'), 5), '1 bytes after the last tensor']);

refusesHeader(23, 'one byte short', [
  one(f32('[1]', '[0,4]'), 3),
  'tensor "a" ends at byte 4 of the data, and the file holds 3',
]);

refusesHeader(
  24,
  'a shape that the size contradicts',
  [one(f32('[3]', '[0,8]'), 8), 'tensor "a": F32 of shape [3] takes 12 bytes, and its data_offsets span 8'],
  [one(f32('[1]', '[0,8]'), 8), 'tensor "a": F32 of shape [1] takes 4 bytes, and its data_offsets span 8'],
);

refusesHeader(
  25,
  'a shape of [2^63, 2], or [2^63, 2, 0]',
  [one(f32('[9223372036854775808,2]', '[0,0]'), 0), 'tensor "a" has the impossible shape [9223372036854775808, 2]'],
  [one(f32('[9223372036854775808,2,0]', '[0,0]'), 0), 'tensor "a" has the impossible shape'],
);

refusesHeader(
  26,
  'a dtype that is unknown, or in lower case',
  [one(entry('F33', '[1]', '[0,4]'), 4), 'tensor "a" has the dtype "F33"'],
  [one(entry('f32', '[1]', '[0,4]'), 4), 'tensor "a" has the dtype "f32"'],
);

refusesHeader(27, 'an odd number of 4-bit values', [
  one(entry('F4', '[3]', '[0,1]'), 1),
  'tensor "a": F4 of shape [3] does not fill whole bytes',
]);

refusesHeader(28, 'a name twice, with the same span', [
  safetensors(`{"a":${f32('[1]', '[0,4]')},"a":${f32('[1]', '[0,4]')}}`, 4),
  'tensor "a" stands in the header twice',
]);

refusesHeader(29, 'a metadata key twice', [
  safetensors('{"__metadata__":{"a":"1","a":"1"}}'),
  '__metadata__ has the key "a" twice',
]);

refusesHeader(30, 'a shape of [0, 2^63, 2]', [
  one(f32('[0,9223372036854775808,2]', '[0,0]'), 0),
  'tensor "a" has the impossible shape [0, 9223372036854775808, 2]',
]);
