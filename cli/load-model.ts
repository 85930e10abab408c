/** The model that the options of a run make. */
import type { ModelNeed } from '../src/checkpoint/hub/wanted.js';
import { firstNotFinite } from '../src/checkpoint/not-finite.js';
import type { RunOptions } from '../src/model/components.js';
import { assemble, loadModel, type Model } from '../src/model/load.js';
import { expectScalesOf, readScales } from '../src/reference/calibrate.js';
import { loadTokenizer, type TextTokenizer } from '../src/text/tokenizer.js';
import { bytesText } from './bytes.js';
import { folderOf } from './model-folder.js';
import { type ProgressBar, progressBar } from './progress.js';
import {
  type AttentionFlags,
  cacheSizesOf,
  kvConfigOf,
  precisionOf,
  type RunFlags,
  visibilityOf,
} from './run-options.js';

interface Loaded {
  /** Where the model was, or has been put. */
  readonly folder: string;
  readonly model: Model;
  readonly tokenizer: TextTokenizer | null;
}

/** Loads a model with its tokenizer (null if it has none), to be run as the flags say. @param need as `folderOf` takes it */
export async function load(name: string, flags: RunFlags, need?: ModelNeed): Promise<Loaded> {
  const { cache, kvScales: file } = flags;
  const stored = { cache, ...cacheSizesOf(flags) };
  const kvDtype = kvConfigOf(flags, undefined); // flags that do not go together, before a file is read
  visibilityOf(flags);
  precisionOf(flags);
  const folder = await folderOf(name, need);
  if (file === undefined) return ready(loadWith(folder, flags, { ...stored, kvDtype }));
  const scales = readScales(file);
  const { model, tokenizer } = loadWith(folder, flags, stored);
  expectScalesOf(model, scales, file);
  const options = { ...model.options, kvDtype: kvConfigOf(flags, scales.amax) };
  return ready({ folder, model: assemble(model.config, model.weights, options, model.files), tokenizer });
}

/** With what it runs on: a device that cannot be had is told of before any work. */
async function ready(loaded: Loaded): Promise<Loaded> {
  await loaded.model.components.kernel.device?.();
  return loaded;
}

/** The same for a command that has no options of the cache. */
export async function loadPlain(name: string, flags: AttentionFlags): Promise<Loaded> {
  visibilityOf(flags);
  precisionOf(flags);
  return ready(loadWith(await folderOf(name), flags, {}));
}

function loadWith(folder: string, flags: AttentionFlags, stored: Partial<RunOptions>): Loaded {
  const { attention, ropePositions: positions, kernel, device, ropeLength, ignoreConfigKey: ignoreConfigKeys } = flags;
  const precision = precisionOf(flags);
  const chosen = { attention, visibility: visibilityOf(flags), positions, kernel, device, precision, ...stored };
  return loading((progress) => {
    const model = loadModel(folder, { ...chosen, ropeLength, ignoreConfigKeys, progress });
    return { folder, model, tokenizer: loadTokenizer(folder, model.config.vocabulary) };
  });
}

/**
 * Reads a model, with a bar. Nothing is written and no listener has its turn meanwhile, so Ctrl-C may end the process at once (and the cursor stays, since
 * nothing could bring it back).
 */
export function loading<Result>(read: (progress: ProgressBar['update']) => Result): Result {
  const listeners = process.listeners('SIGINT');
  const bar = progressBar('load', bytesText, { hideCursor: false });
  process.removeAllListeners('SIGINT');
  try {
    return read(bar.update);
  } finally {
    bar.end();
    for (const listener of listeners) process.on('SIGINT', listener);
  }
}

/** Says on standard error if a weight is NaN or infinite: numbers of such a model are hardly what others should be held against. */
export function warnOfNotFinite({ files }: Model): void {
  const found = firstNotFinite(files.filter((file) => file.endsWith('.safetensors')));
  if (found) {
    process.stderr.write(
      `touchstone: ${found.file}: tensor ${JSON.stringify(found.tensor)} holds NaN or infinity, and so may what is computed of it.\n`,
    );
  }
}
