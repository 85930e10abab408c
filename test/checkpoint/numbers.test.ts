import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DTYPE_BITS, type Dtype } from '../../src/checkpoint/safetensors/header.js';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { temporaryFolder } from '../support/fixtures.js';

/** A file of one tensor, of these bytes. */
function stored(dtype: Dtype, bytes: readonly number[], values: number): string {
  const path = join(temporaryFolder(), 'a.safetensors');
  const entry = { dtype, shape: [values], data_offsets: [0, bytes.length] };
  const header = Buffer.from(JSON.stringify({ a: entry }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(path, Buffer.concat([length, header, Buffer.from(bytes)]));
  return path;
}

const bytesOf = (array: ArrayBufferView) => [...new Uint8Array(array.buffer, array.byteOffset, array.byteLength)];

describe('the numbers of a tensor', () => {
  it.each<[Dtype, readonly number[], ArrayBufferView & { length: number }]>([
    ['F64', bytesOf(Float64Array.of(-0, 0.1, Number.NaN)), Float64Array.of(-0, 0.1, Number.NaN)],
    ['F32', bytesOf(Float32Array.of(1.5, -Infinity)), Float32Array.of(1.5, -Infinity)],
    ['F16', [0x00, 0x3c, 0x01, 0x80], Float32Array.of(1, -(2 ** -24))],
    ['BF16', [0x80, 0x3f, 0x49, 0xc0], Float32Array.of(1, -3.140625)],
    ['F8_E4M3', [0x38, 0x7e, 0x81, 0x7f], Float32Array.of(1, 448, -(2 ** -9), Number.NaN)],
    ['F8_E5M2', [0x3c, 0x7b, 0x81, 0x7c], Float32Array.of(1, 57344, -(2 ** -16), Infinity)],
    ['F8_E8M0', [127, 130, 0, 255], Float32Array.of(1, 8, 2 ** -127, Number.NaN)],
    ['F4', [0x72, 0x9f], Float32Array.of(1, 6, -6, -0.5)],
    ['I64', bytesOf(BigInt64Array.of(-1n, 2n ** 62n)), BigInt64Array.of(-1n, 2n ** 62n)],
    ['U64', bytesOf(BigUint64Array.of(2n ** 64n - 1n)), BigUint64Array.of(2n ** 64n - 1n)],
    ['I32', bytesOf(Int32Array.of(-7, 2 ** 31 - 1)), Int32Array.of(-7, 2 ** 31 - 1)],
    ['U32', bytesOf(Uint32Array.of(2 ** 32 - 1)), Uint32Array.of(2 ** 32 - 1)],
    ['I16', bytesOf(Int16Array.of(-32768, 5)), Int16Array.of(-32768, 5)],
    ['U16', bytesOf(Uint16Array.of(65535)), Uint16Array.of(65535)],
    ['I8', [0xff, 0x7f], Int8Array.of(-1, 127)],
    ['U8', [0xff, 0], Uint8Array.of(255, 0)],
    ['BOOL', [1, 0, 1], Uint8Array.of(1, 0, 1)],
  ])('%s', (dtype, bytes, expected) => {
    withSafetensors(stored(dtype, bytes, expected.length), (file) => {
      const found = file.readNumbers('a');
      expect(found.constructor).toBe(expected.constructor);
      expect(found).toEqual(expected);
    });
  });

  it('are refused in dtypes that have none, and everything else is read', () => {
    const none = (Object.keys(DTYPE_BITS) as Dtype[]).filter((dtype) => {
      try {
        return withSafetensors(
          stored(dtype, Array(24).fill(0), (24 * 8) / DTYPE_BITS[dtype]),
          (file) => !file.readNumbers('a'),
        );
      } catch (error) {
        expect((error as Error).message).toMatch(
          `tensor a is ${dtype}, whose values are not known; known are those of F64`,
        );
        return true;
      }
    });
    expect(none.sort()).toEqual(['C64', 'F6_E2M3', 'F6_E3M2', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ']);
  });

  it('name the tensor that is not there', () => {
    withSafetensors(stored('U8', [1], 1), (file) =>
      expect(() => file.readNumbers('b')).toThrow('there is no tensor "b"'),
    );
  });
});
