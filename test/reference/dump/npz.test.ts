import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CheckpointError } from '../../../src/errors.js';
import { openNpz } from '../../../src/reference/dump/npz.js';
import { temporaryFolder } from '../../support/fixtures.js';
import { bytesOf, npy, type Zipped, zip } from '../../support/npy.js';

function stored(bytes: Uint8Array): string {
  const path = join(temporaryFolder(), 'x.npz');
  writeFileSync(path, bytes);
  return path;
}

function read(bytes: Uint8Array): Record<string, number[]> {
  const dump = openNpz(stored(bytes));
  try {
    return Object.fromEntries([...dump.tensors.values()].map((tensor) => [tensor.name, [...tensor.read()]]));
  } finally {
    dump.close();
  }
}

/** `logits`, [[0, 0.25, 0.5], [0.75, 1, 1.25]], and `input_ids`, [0, 1, 2], as NumPy 2.4 wrote them: with zip64's fields in local headers alone. */
const WRITTEN = {
  savez:
    'UEsDBC0AAAAAAAAAIQAKnACk//////////8KABQAbG9naXRzLm5weQEAEACYAAAAAAAAAJgAAAAAAAAAk05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAACAPgAAAD8AAEA/AACAPwAAoD9QSwMELQAAAAAAAAAhAPdAEur//////////w0AFABpbnB1dF9pZHMubnB5AQAQAJgAAAAAAAAAmAAAAAAAAACTTlVNUFkBAHYAeydkZXNjcic6ICc8aTgnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMywpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgCgAAAAAAAAAAAQAAAAAAAAACAAAAAAAAAFBLAQItAy0AAAAAAAAAIQAKnACkmAAAAJgAAAAKAAAAAAAAAAAAAACAAQAAAABsb2dpdHMubnB5UEsBAi0DLQAAAAAAAAAhAPdAEuqYAAAAmAAAAA0AAAAAAAAAAAAAAIAB1AAAAGlucHV0X2lkcy5ucHlQSwUGAAAAAAIAAgBzAAAAqwEAAAAA',
  savez_compressed:
    'UEsDBC0AAAAIAAAAIQAKnACk//////////8KABQAbG9naXRzLm5weQEAEACYAAAAAAAAAFYAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNmoq6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkaRjoKxpo6CrUKZAMuBjBosAMS9gwMDkDcAMQL7AFQSwMELQAAAAgAAAAhAPdAEur//////////w0AFABpbnB1dF9pZHMubnB5AQAQAJgAAAAAAAAATAAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRupaBuk2mhrqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RrGOpo6CrUKFAAuBihghNJMUBoAUEsBAi0DLQAAAAgAAAAhAAqcAKRWAAAAmAAAAAoAAAAAAAAAAAAAAIABAAAAAGxvZ2l0cy5ucHlQSwECLQMtAAAACAAAACEA90AS6kwAAACYAAAADQAAAAAAAAAAAAAAgAGSAAAAaW5wdXRfaWRzLm5weVBLBQYAAAAAAgACAHMAAAAdAQAAAAA=',
};

const a = npy(bytesOf(new Float32Array([1, 2, 3])));
const b = npy(bytesOf(new Float32Array(5000).fill(0.5)));
const entry = (more: Partial<Zipped> = {}): Zipped => ({ name: 'a.npy', bytes: a, ...more });

describe('reading .npz', () => {
  it.each(Object.entries(WRITTEN))('reads what np.%s wrote', (_, base64) => {
    expect(read(Buffer.from(base64, 'base64'))).toEqual({
      logits: [0, 0.25, 0.5, 0.75, 1, 1.25],
      input_ids: [0, 1, 2],
    });
  });

  it.each([false, true])('reads stored and deflated files, with sizes in zip64 fields: %s', (wide) => {
    const found = read(zip([entry(), { name: 'layers/0/b.npy', bytes: b, deflate: true }], { wide }));
    expect(found).toEqual({ a: [1, 2, 3], 'layers/0/b': Array(5000).fill(0.5) });
  });

  it('reads a header that unpacks beyond the first packed bytes', () => {
    const noise = Float32Array.from({ length: 5000 }, (_, i) => Math.sin(i * i));
    expect(read(zip([{ name: 'n.npy', bytes: npy(bytesOf(noise)), deflate: true }])).n).toEqual([...noise]);
  });
});

const WRONG: readonly [what: string, bytes: Uint8Array, message: RegExp][] = [
  ['a zip that is cut short', zip([entry()]).subarray(0, -30), /the end of the zip file is missing/],
  ['bytes after its end', Buffer.concat([zip([entry()]), Buffer.alloc(3)]), /the end of the zip file is missing/],
  ['bytes before its end record', zip([entry()], { gap: Buffer.alloc(3) }), /directory should end at byte/],
  ['another number of files', zip([entry()], { count: 2 }), /end says 2 files, and its directory has 1/],
  ['an encrypted file', zip([entry({ claims: { flags: 1 } })]), /a.npy is encrypted/],
  ['another packing', zip([entry({ claims: { method: 93 } })]), /packed by method 93/],
  ['a name twice', zip([entry(), entry()]), /a.npy is in the zip twice/],
  [
    'files that share bytes',
    zip([entry(), { ...entry(), name: 'b.npy', claims: { at: 0, localName: 'b.npy' } }]),
    /is called "a.npy" where it lies/,
  ],
  ['a file past the directory', zip([entry({ claims: { at: 5000 } })]), /begins outside/],
  ['a size that stored bytes have not', zip([entry({ claims: { size: 5 } })]), /stored as it is/],
  [
    'a size that deflate cannot reach',
    zip([entry({ deflate: true, claims: { size: 4_000_000_000 } })]),
    /more than its \d+ packed ones can hold/,
  ],
  [
    'more than the directory says',
    zip([{ name: 'b.npy', bytes: b, deflate: true, claims: { size: b.length - 4 } }]),
    /cannot be unpacked \(ERR_BUFFER_TOO_LARGE\)/,
  ],
  [
    'less than the directory says',
    zip([{ name: 'b.npy', bytes: b, deflate: true, claims: { size: b.length + 4 } }]),
    /takes 20000 bytes, and 20004 follow/,
  ],
  [
    'a file that is no .npy',
    zip([entry(), { name: 'readme.txt', bytes: a }]),
    /holds .npy files alone, got readme.txt/,
  ],
  ['a file of torch.save', zip([{ name: 'archive/data.pkl', bytes: a }]), /torch.save, a pickle/],
];

describe('damaged .npz files', () => {
  it.each(WRONG)('refuses %s, naming the file', (_, bytes, message) => {
    const path = stored(bytes);
    expect(() => openNpz(path)).toThrow(CheckpointError);
    expect(() => openNpz(path)).toThrow(message);
    expect(() => openNpz(path)).toThrow(path);
  });

  it('refuses entries that overlap', () => {
    // A second local header inside of the first file's data.
    const inner = zip([{ name: 'b.npy', bytes: a }]);
    const bytes = zip([
      entry({ bytes: inner.subarray(0, inner.length - 22) }),
      { name: 'b.npy', bytes: a, claims: { at: 30 + 'a.npy'.length } },
    ]);
    expect(() => read(bytes)).toThrow('b.npy and a.npy overlap');
  });

  it('refuses a zip64 field that has not the numbers which are asked of it', () => {
    const bytes = zip([entry()], { wide: true });
    bytes.writeUInt16LE(8, bytes.indexOf('PK\x01\x02') + 46 + 'a.npy'.length + 2);
    expect(() => read(bytes)).toThrow("a.npy is longer than 4 GB and the zip's directory does not say how long");
  });

  it.each([false, true])('refuses data that is not what it was (deflated: %s)', (deflate) => {
    const bytes = zip([entry({ deflate, claims: { crc: 1 } })]);
    expect(() => read(bytes)).toThrow('a.npy is damaged: its checksum');
  });

  const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 });

  test.prop([fc.boolean(), fc.boolean(), changes, fc.nat()], { numRuns: 1000 })(
    'reads or refuses whatever bytes are changed or cut',
    (wide, deflate, changed, cut) => {
      const whole = zip([entry({ deflate }), { name: 'b.npy', bytes: a, deflate: !deflate }], { wide });
      for (const [at, byte] of changed) whole[at % whole.length] = byte;
      try {
        for (const values of Object.values(read(cut % 3 === 0 ? whole.subarray(0, cut % whole.length) : whole))) {
          expect(values.length).toBeGreaterThanOrEqual(0);
        }
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
      }
    },
  );
});
