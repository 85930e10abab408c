/** Tensors that a program holds, as a dump. */
import { ShapeError } from '../../errors.js';
import type { Floats } from '../../tensor/tensor.js';
import { type Dump, type DumpTensor, NO_METADATA } from './dump.js';

/** Values in row-major order: numbers, or whole numbers such as token ids. */
export interface HeldTensor {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number | bigint>;
}

/**
 * @param tensors by name: what `compare` may hold against ours
 * @param name what reports call it
 * @throws ShapeError for values that do not fill their shape
 */
export function dumpOf(tensors: Readonly<Record<string, HeldTensor>>, name = 'the given tensors'): Dump {
  const held = Object.entries(tensors).map(([own, { shape, data }]): [string, DumpTensor] => {
    const size = shape.reduce((product, length) => product * length, 1);
    if (data.length !== size) {
      throw new ShapeError(`${own}: shape [${shape.join(', ')}] needs ${size} values, got ${data.length}.`);
    }
    return [own, { name: own, dtype: dtypeOf(data), shape, read: () => floatsOf(data) }];
  });
  return { path: name, tensors: new Map(held), metadata: NO_METADATA, close: () => {} };
}

function dtypeOf(data: ArrayLike<number | bigint>): string {
  if (data instanceof Float32Array) return 'F32';
  return data instanceof Float64Array || Array.isArray(data) ? 'F64' : 'I64';
}

function floatsOf(data: ArrayLike<number | bigint>): Floats {
  return data instanceof Float32Array ? data : Float64Array.from(data as ArrayLike<number>, Number);
}
