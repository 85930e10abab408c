/** Checkpoints with other tensors or keys than a fixture's, of any dtype. */
import { join } from 'node:path';
import { expect } from 'vitest';
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/safetensors/write.js';
import { TensorSource } from '../../src/checkpoint/tensor-source.js';
import { CheckpointError } from '../../src/errors.js';
import { type Matrix, widenInto } from '../../src/tensor/matrix.js';
import { copyOf, editJson } from './checkpoint.js';

/** Every tensor of a checkpoint, as its bytes. */
export function storedTensors(folder: string): TensorToWrite[] {
  const source = new TensorSource(folder);
  try {
    return source.entries().map(({ name, dtype, shape }) => {
      return { name, dtype, shape, data: new Uint8Array(source.takeBytes(name)) };
    });
  } finally {
    source.close();
  }
}

/** A copy of a fixture with other tensors, or other keys. */
export function changed(
  name: string,
  tensors: (all: TensorToWrite[]) => TensorToWrite[],
  config: (raw: Record<string, unknown>) => Record<string, unknown> = (raw) => raw,
): string {
  const folder = copyOf(name);
  writeSafetensors(join(folder, 'model.safetensors'), tensors(storedTensors(folder)));
  editJson(join(folder, 'config.json'), config);
  return folder;
}

export const without = (name: string) => (all: TensorToWrite[]) => all.filter((tensor) => tensor.name !== name);
export const replaced =
  (name: string, change: (tensor: TensorToWrite) => Partial<TensorToWrite>) => (all: TensorToWrite[]) =>
    all.map((tensor) => (tensor.name === name ? { ...tensor, ...change(tensor) } : tensor));
export const plus =
  (...more: TensorToWrite[]) =>
  (all: TensorToWrite[]) => [...all, ...more];

/** What a CheckpointError says. */
export function refusal(load: () => unknown): string {
  try {
    load();
  } catch (error) {
    expect(error).toBeInstanceOf(CheckpointError);
    return (error as Error).message;
  }
  throw new Error('expected a refusal');
}

/** A matrix in float64. */
export function numbers(matrix: Matrix): Float64Array {
  const wide = new Float64Array(matrix.rows * matrix.columns);
  widenInto(wide, matrix, 0, wide.length);
  return wide;
}
