import { join } from 'node:path';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';

/** All tensors of a trace of a kit, and its metadata. */
export function kitTrace(kit: string, name: string) {
  return withSafetensors(join(kit, 'traces', `${name}.safetensors`), (file) => ({
    values: new Map(
      [...file.tensors.keys()].map((tensor) => [tensor, Float64Array.from(file.readNumbers(tensor), Number)]),
    ),
    metadata: Object.fromEntries(file.metadata),
  }));
}
