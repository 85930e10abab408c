/** Weights that are NaN or infinite: the format allows them, and whoever makes or believes numbers of such a checkpoint wants to know. */
import type { Dtype } from './safetensors/header.js';
import { withSafetensors } from './safetensors/read.js';

/** Values of a tensor as bits; without their sign, those from `least` on are infinite or NaN. */
interface Bits {
  readonly view: new (bytes: ArrayBuffer) => Uint8Array | Uint16Array | Uint32Array;
  readonly magnitude: number;
  readonly least: number;
  /** Words a value: of F64, the upper one tells. */
  readonly words?: 2;
}

const BITS: Partial<Record<Dtype, Bits>> = {
  F64: { view: Uint32Array, magnitude: 0x7fff_ffff, least: 0x7ff0_0000, words: 2 },
  F32: { view: Uint32Array, magnitude: 0x7fff_ffff, least: 0x7f80_0000 },
  F16: { view: Uint16Array, magnitude: 0x7fff, least: 0x7c00 },
  BF16: { view: Uint16Array, magnitude: 0x7fff, least: 0x7f80 },
  F8_E4M3: { view: Uint8Array, magnitude: 0x7f, least: 0x7f },
  F8_E5M2: { view: Uint8Array, magnitude: 0x7f, least: 0x7c },
};

/** Names of a safetensors file's tensors that hold NaN or infinity, in the file's order. */
export function notFiniteIn(path: string): string[] {
  return withSafetensors(path, ({ tensors, read }) =>
    [...tensors.values()].filter(({ name, dtype }) => isNotFinite(dtype, read, name)).map(({ name }) => name),
  );
}

/** The first such tensor of several files, with its file; null: all weights are finite. */
export function firstNotFinite(paths: readonly string[]): { file: string; tensor: string } | null {
  for (const file of paths) {
    const tensor = withSafetensors(file, ({ tensors, read }) =>
      [...tensors.values()].find(({ name, dtype }) => isNotFinite(dtype, read, name)),
    );
    if (tensor) return { file, tensor: tensor.name };
  }
  return null;
}

function isNotFinite(dtype: Dtype, read: (name: string) => ArrayBuffer, name: string): boolean {
  const bits = BITS[dtype];
  if (!bits) return false;
  const { view: View, magnitude, least, words = 1 } = bits;
  const values = new View(read(name));
  for (let at = words - 1; at < values.length; at += words) if ((values[at]! & magnitude) >= least) return true;
  return false;
}
