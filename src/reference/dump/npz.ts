/** Several arrays as NumPy saves them: a zip file of .npy files. */
import { CheckpointError } from '../../errors.js';
import { type Dump, NO_METADATA } from './dump.js';
import { npyTensor } from './npy.js';
import { openZip } from './zip.js';

/** @throws CheckpointError naming the file and what is in it that is no .npy file */
export function openNpz(path: string): Dump {
  const zip = openZip(path);
  try {
    if (zip.entries.some(({ name }) => /(^|\/)data\.pkl$/.test(name))) {
      throw new CheckpointError(
        `${path}: this is a file of torch.save, a pickle, which can run code and is not read; write it with safetensors.torch.save_file.`,
      );
    }
    const tensors = zip.entries.map((entry) => {
      if (!entry.name.endsWith('.npy')) {
        throw new CheckpointError(
          `${path}: expected a .npz file, which holds .npy files alone, got ${entry.name} in it.`,
        );
      }
      const name = entry.name.slice(0, -'.npy'.length);
      return [name, npyTensor(name, { ...entry, file: path })] as const;
    });
    return { path, tensors: new Map(tensors), metadata: NO_METADATA, close: zip.close };
  } catch (error) {
    zip.close();
    throw error;
  }
}
