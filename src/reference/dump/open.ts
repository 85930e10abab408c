/** Opens whatever form of dump a path has. */
import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { openRandomAccess } from '../../checkpoint/random-access.js';
import { CheckpointError } from '../../errors.js';
import type { Dump } from './dump.js';
import { openFolder } from './folder.js';
import { openJson } from './json.js';
import { canonicalNames } from './names.js';
import { openNpy } from './npy.js';
import { NPY_MAGIC } from './npy-header.js';
import { openNpz } from './npz.js';
import { openSafetensorsDump } from './safetensors.js';

/**
 * A .safetensors, .npy, .npz or JSON file, or a folder of .npy and .safetensors files. The file's ending decides; where it says nothing, what the
 * file begins with.
 * @throws CheckpointError if there is no such file, or it is none of these, or damaged
 */
export function openDump(path: string): Dump {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new CheckpointError(`${path}: there is no such file or folder.`);
  if (found.isDirectory()) return openFolder(path);
  const form = FORMS.find(({ ending }) => ending.test(path)) ?? FORMS.find(({ begins }) => begins(firstBytes(path)));
  return form ? form.open(path) : unknown(path);
}

interface Form {
  readonly ending: RegExp;
  readonly begins: (first: Buffer) => boolean;
  readonly open: (path: string) => Dump;
}

const FORMS: readonly Form[] = [
  // Behind its length, a safetensors file begins as JSON does.
  { ending: /\.safetensors$/i, begins: (first) => first[8] === 0x7b, open: openSafetensorsDump },
  { ending: /\.npy$/i, begins: (first) => first.toString('latin1', 0, 6) === NPY_MAGIC, open: openLoneNpy },
  {
    ending: /\.npz$/i,
    begins: (first) => ['PK\x03\x04', 'PK\x05\x06'].includes(first.toString('latin1', 0, 4)),
    open: openNpz,
  },
  { ending: /\.json$/i, begins: (first) => /^\s*[[{]/.test(first.toString('latin1')), open: openJson },
];

function firstBytes(path: string): Buffer {
  const file = openRandomAccess(path);
  try {
    return Buffer.from(file.read(0, Math.min(file.size, 16)));
  } finally {
    file.close();
  }
}

/** An array alone, whose name says nothing, is the logits: that is what people save first. */
function openLoneNpy(path: string): Dump {
  const name = basename(path).replace(/\.npy$/i, '');
  return openNpy(path, canonicalNames(name).length > 0 ? name : 'logits');
}

function unknown(path: string): never {
  const known = 'a .safetensors, .npy, .npz or .json file, or a folder of .npy and .safetensors files';
  const hint = HINTS.find(([ending]) => ending.test(path))?.[1];
  throw new CheckpointError(`${path}: expected ${known}${hint ? `; ${hint}` : ', got something else'}.`);
}

const HINTS: readonly [RegExp, string][] = [
  [/\.(pt|pth|pkl|pickle|bin)$/i, 'a pickle can run code and is not read: write it with safetensors.torch.save_file'],
  [/\.gguf$/i, 'a GGUF file holds weights: cli/dumpers/llama_cpp.md says how to get what llama.cpp computes'],
  [/\.(csv|txt|tsv|log)$/i, 'text loses digits: write the numbers in one of these forms'],
];
