/** Weights that are NaN or infinite: the format allows them, and whoever makes or believes numbers of such a checkpoint wants to know. */
import type { Dtype, TensorEntry } from './safetensors/header.js';
import { type SafetensorsFile, withSafetensors } from './safetensors/read.js';

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
  F8_E8M0: { view: Uint8Array, magnitude: 0xff, least: 0xff },
};

/** Names of a safetensors file's tensors that hold NaN or infinity, in the file's order. */
export function notFiniteIn(path: string): string[] {
  return withSafetensors(path, (file) =>
    [...file.tensors.values()].filter((entry) => isNotFinite(entry, file)).map(({ name }) => name),
  );
}

/** The first such tensor of several files, with its file; null: all weights are finite. */
export function firstNotFinite(paths: readonly string[]): { file: string; tensor: string } | null {
  for (const file of paths) {
    const tensor = withSafetensors(file, (opened) =>
      [...opened.tensors.values()].find((entry) => isNotFinite(entry, opened)),
    );
    if (tensor) return { file, tensor: tensor.name };
  }
  return null;
}

function isNotFinite({ name, dtype }: TensorEntry, { tensors, read }: SafetensorsFile): boolean {
  const bits = BITS[isExponents(name, dtype, tensors) ? 'F8_E8M0' : dtype];
  if (!bits) return false;
  const { view: View, magnitude, least, words = 1 } = bits;
  const values = new View(read(name));
  for (let at = words - 1; at < values.length; at += words) if ((values[at]! & magnitude) >= least) return true;
  return false;
}

/** MXFP4 keeps scales that are powers of two as plain bytes, beside blocks of its numbers. */
function isExponents(name: string, dtype: Dtype, tensors: ReadonlyMap<string, TensorEntry>): boolean {
  return dtype === 'U8' && /_scales$/.test(name) && tensors.has(name.replace(/_scales$/, '_blocks'));
}
