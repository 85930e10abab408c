/** Stored values -> floats that hold them exactly. */
import type { Numbers } from '../../checkpoint/safetensors/numbers.js';
import { CheckpointError } from '../../errors.js';
import type { Floats } from '../../tensor/tensor.js';

/** @throws CheckpointError for an integer that float64 might not hold */
export function floatsOf(numbers: Numbers, name: string, file: string): Floats {
  if (numbers instanceof Float64Array || numbers instanceof Float32Array) return numbers;
  if (!(numbers instanceof BigInt64Array) && !(numbers instanceof BigUint64Array)) return Float64Array.from(numbers);
  const values = new Float64Array(numbers.length);
  for (let i = 0; i < values.length; i++) {
    values[i] = Number(numbers[i]!);
    if (Number.isSafeInteger(values[i])) continue;
    throw new CheckpointError(
      `${file}: tensor ${name} holds ${numbers[i]}; integers are read up to 2^53, which none that means something here exceeds.`,
    );
  }
  return values;
}

/**
 * Bytes that a shape takes.
 * @throws CheckpointError where that is more than a number can count
 */
export function bytesOf(shape: readonly number[], bits: number, name: string, file: string): number {
  const size = shape.reduce((product, length) => product * BigInt(length), BigInt(bits));
  const extent = shape.reduce((product, length) => product * BigInt(length || 1), BigInt(bits));
  if (extent <= BigInt(Number.MAX_SAFE_INTEGER) && size % 8n === 0n) return Number(size / 8n);
  throw new CheckpointError(`${file}: tensor ${name} has the impossible shape [${shape.join(', ')}].`);
}

/** Column-major values of a shape in row-major order: NumPy's `fortran_order`. */
export function rowMajor(values: Floats, shape: readonly number[]): Floats {
  const ordered = values.slice();
  const index = shape.map(() => 0);
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((product, length) => product * length, 1));
  for (let i = 0, from = 0; i < ordered.length; i++) {
    ordered[i] = values[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      index[axis]!++;
      if (index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return ordered;
}
