/** A folder of dumps: .npy files, each a tensor of its file's name, and .safetensors files. */
import { existsSync, readdirSync } from 'node:fs';
import { join, sep } from 'node:path';
import { CheckpointError } from '../../errors.js';
import type { Dump, DumpTensor } from './dump.js';
import { openNpy } from './npy.js';
import { openSafetensorsDump } from './safetensors.js';

/** @throws CheckpointError where there is none of these, a name is there twice, or the folder is a checkpoint's */
export function openFolder(path: string): Dump {
  if (existsSync(join(path, 'config.json'))) {
    throw new CheckpointError(`${path}: this is a checkpoint, not a dump of what one computes (it has a config.json).`);
  }
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(npy|safetensors)$/i.test(name)).sort(); // biome-ignore format: one step
  if (names.length === 0) {
    throw new CheckpointError(`${path}: expected a folder of .npy or .safetensors files, and it has none.`);
  }
  const opened: Dump[] = [];
  const close = () => {
    for (const dump of opened) dump.close();
  };
  try {
    const tensors = new Map<string, DumpTensor>();
    for (const name of names) {
      const dump = openOne(path, name);
      opened.push(dump);
      for (const tensor of dump.tensors.values()) {
        if (tensors.has(tensor.name)) {
          throw new CheckpointError(`${path}: tensor ${tensor.name} is in ${name} and in another file of the folder.`);
        }
        tensors.set(tensor.name, tensor);
      }
    }
    return { path, tensors, metadata: Object.assign({}, ...opened.map(({ metadata }) => metadata)), close };
  } catch (error) {
    close();
    throw error;
  }
}

function openOne(folder: string, name: string): Dump {
  const path = join(folder, name);
  if (/\.safetensors$/i.test(name)) return openSafetensorsDump(path);
  return openNpy(
    path,
    name
      .replace(/\.npy$/i, '')
      .split(sep)
      .join('/'),
  );
}
