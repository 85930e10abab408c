/** Dumps for tests of comparisons: of other implementations, whole or with faults. */

import { type LoadOptions, loadModel, type Model } from '../../src/model/load.js';
import type { Comparison, TensorComparison } from '../../src/reference/compare/comparison.js';
import type { Dump, DumpTensor } from '../../src/reference/dump/dump.js';
import { openDump } from '../../src/reference/dump/open.js';
import type { Floats } from '../../src/tensor/tensor.js';
import { fixture } from './fixtures.js';

/** A prompt for comparisons. */
export const IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4];

export function load(name: string, options: LoadOptions = {}): Model {
  return loadModel(fixture(name), options);
}

export function tensorOf({ tensors }: Comparison, name: string): TensorComparison {
  return tensors.find((tensor) => tensor.name === name)!;
}

/** What transformers computed (`fixtures/dumps`), and of which checkpoint. */
export const DUMPS = [
  ['tiny-llama-rope3-f16', 'tiny-llama-rope3-f16'],
  ['gpt2-scaled', 'families/gpt2-scaled'],
  ['gemma2', 'families/gemma2'],
  ['deepseek-v2', 'families/deepseek-v2'],
] as const;

export function openFixtureDump(name: string): Dump {
  return openDump(fixture(`dumps/${name}.safetensors`));
}

/** A dump with some tensors changed or left out (null). */
export function changed(
  dump: Dump,
  change: (
    tensor: DumpTensor,
  ) => (Partial<Pick<DumpTensor, 'name' | 'shape' | 'dtype'>> & { values?: Floats }) | null | undefined,
): Dump {
  const tensors = [...dump.tensors.values()].flatMap((tensor): [string, DumpTensor][] => {
    const own = change(tensor);
    if (own === null) return [];
    const { values, ...described } = own ?? {};
    const made = { ...tensor, read: () => values ?? tensor.read(), ...described };
    return [[made.name, made]];
  });
  return { ...dump, tensors: new Map(tensors) };
}

/** One value of one tensor is another one. */
export function planted(dump: Dump, name: string, at: number, by: (x: number) => number): Dump {
  return changed(dump, (tensor) => {
    if (tensor.name !== name) return undefined;
    const values = tensor.read().slice();
    values[at] = by(values[at]!);
    return { values };
  });
}
