import { ShapeError } from '../../errors.js';
import { writeAtomically } from '../../files.js';
import { DTYPE_BITS, type Dtype } from './header.js';

/** A tensor to write: its bytes in little-endian order, in the dtype that is named. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | BigInt64Array | Int32Array | Uint16Array | Uint8Array;
}

/**
 * Writes a safetensors file: beside its place first, then renamed, so that a reader never sees half of one. Tensors are laid
 * out by falling alignment, then by name, as the format's own writer does, so that each is aligned. (The npm package
 * `safetensors` only reads; the tests read our files with it as a cross-check.)
 */
export function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): void {
  checkTensors(tensors);
  const sorted = [...tensors].sort((a, b) => DTYPE_BITS[b.dtype] - DTYPE_BITS[a.dtype] || (a.name < b.name ? -1 : 1));
  let offset = 0;
  const entries = sorted.map(({ name, dtype, shape, data }) => {
    const begin = offset;
    offset += data.byteLength;
    return [name, { dtype, shape, data_offsets: [begin, offset] }] as const;
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries([['__metadata__', metadata], ...entries])));
  const padded = Buffer.alloc(Math.ceil(header.length / 8) * 8, ' ');
  header.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const bodies = sorted.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  writeAtomically(path, [length, padded, ...bodies]);
}

/** What our reader would refuse is not written. */
function checkTensors(tensors: readonly TensorToWrite[]): void {
  const names = new Set<string>();
  for (const { name, dtype, shape, data } of tensors) {
    const bits = shape.reduce((product, length) => product * length, DTYPE_BITS[dtype]);
    if (bits !== 8 * data.byteLength) {
      throw new ShapeError(
        `Tensor ${name}: ${dtype} of shape [${shape.join(', ')}] does not fill ${data.byteLength} bytes.`,
      );
    }
    if (names.has(name) || name === '__metadata__')
      throw new ShapeError(`Tensor ${name} cannot be written under this name.`);
    names.add(name);
  }
}
