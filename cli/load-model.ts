/** The model that the options of a run make. */
import { firstNotFinite } from '../src/checkpoint/not-finite.js';
import type { RunOptions } from '../src/model/components.js';
import { assemble, loadModel, type Model } from '../src/model/load.js';
import { expectScalesOf, readScales } from '../src/reference/calibrate.js';
import { loadTokenizer, type TextTokenizer } from '../src/text/tokenizer.js';
import { type AttentionFlags, cacheSizesOf, kvConfigOf, type RunFlags, visibilityOf } from './run-options.js';

interface Loaded {
  readonly model: Model;
  readonly tokenizer: TextTokenizer | null;
}

/** Loads a checkpoint folder with its tokenizer (null if it has none), to be run as the flags say. */
export async function load(folder: string, flags: RunFlags): Promise<Loaded> {
  const { cache, kvScales: file } = flags;
  const stored = { cache, ...cacheSizesOf(flags) };
  if (file === undefined) return ready(loadWith(folder, flags, { ...stored, kvDtype: kvConfigOf(flags, undefined) }));
  kvConfigOf(flags, undefined); // flags that do not go together, before a file is read
  const scales = readScales(file);
  const { model, tokenizer } = loadWith(folder, flags, stored);
  expectScalesOf(model, scales, file);
  const options = { ...model.options, kvDtype: kvConfigOf(flags, scales.amax) };
  return ready({ model: assemble(model.config, model.weights, options, model.files), tokenizer });
}

/** With what it runs on: a device that cannot be had is told of before any work. */
async function ready(loaded: Loaded): Promise<Loaded> {
  await loaded.model.components.kernel.device?.();
  return loaded;
}

/** The same for a command that has no options of the cache. */
export async function loadPlain(folder: string, flags: AttentionFlags): Promise<Loaded> {
  return ready(loadWith(folder, flags, {}));
}

function loadWith(folder: string, flags: AttentionFlags, stored: Partial<RunOptions>): Loaded {
  const { attention, positions, kernel, device, precision, ropeLength, ignoreConfigKey: ignoreConfigKeys } = flags;
  const chosen = { attention, visibility: visibilityOf(flags), positions, kernel, device, precision, ...stored };
  const model = loadModel(folder, { ...chosen, ropeLength, ignoreConfigKeys });
  return { model, tokenizer: loadTokenizer(folder, model.config.vocabulary) };
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
