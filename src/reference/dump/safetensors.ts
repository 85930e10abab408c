import { openSafetensors } from '../../checkpoint/safetensors/read.js';
import type { Dump, DumpTensor } from './dump.js';
import { floatsOf } from './values.js';

/** @throws CheckpointError where the file is not what the format says */
export function openSafetensorsDump(path: string): Dump {
  const file = openSafetensors(path);
  const tensors = new Map<string, DumpTensor>();
  for (const { name, dtype, shape } of file.tensors.values()) {
    tensors.set(name, { name, dtype, shape, read: () => floatsOf(file.readNumbers(name), name, path) });
  }
  return { path, tensors, metadata: Object.fromEntries(file.metadata), close: file.close };
}
