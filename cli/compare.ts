import type { Command } from 'commander';
import { UsageError } from '../src/errors.js';
import { compare } from '../src/reference/compare/index.js';
import { type CompareFlags, compared, compareOptions } from './compare-options.js';
import { load } from './load-model.js';
import { modelOption, newCommand } from './options.js';
import { type RunFlags, runOptions } from './run-options.js';

interface Flags extends CompareFlags, RunFlags {
  readonly model: string;
  readonly golden?: string;
  readonly bisect?: true;
}

export function compareCommand(): Command {
  const command = newCommand('compare')
    .description(
      'say whether and where what another implementation computed differs from ours: the first tensor, position and value, and whether it is noise',
    )
    .argument(
      '<theirs>',
      'what they computed: .safetensors, .npy, .npz or JSON, or a folder of .npy and .safetensors files',
    )
    .addOption(modelOption())
    .option('--golden <file>', 'compare with a file that touchstone golden --noise wrote, in place of a model')
    .option('--bisect', 'find what is wrong by itself: each tensor is made from their values of what it is made of');
  return runOptions(compareOptions(command))
    .addHelpText('after', AFTER)
    .action(async (theirs: string, flags: Flags, self: Command) => {
      const { golden, bisect } = flags;
      if (golden === undefined) {
        await compared(theirs, flags, [flags.model], async (dump, options) => {
          const { model } = await load(flags.model, flags, 'logits');
          const found = await compare(dump, model, {
            ...options,
            bisect,
            prefillChunk: flags.prefillChunk,
            ignoreConfigKeys: flags.ignoreConfigKey,
          });
          const embedded = 'No --model was given: ours is the model that comes with touchstone.';
          return self.getOptionValueSource('model') === 'cli' ? found : { ...found, notes: [embedded, ...found.notes] };
        });
        return;
      }
      const useless = ['model', 'bisect', 'ids', 'idsFile', ...RUN_FLAGS].find(
        (name) => self.getOptionValueSource(name) === 'cli',
      );
      if (useless)
        throw new UsageError(`--golden: the file decides how it was run; leave out --${dashed(useless)}, or --golden.`);
      await compared(theirs, flags, [golden], async (dump, options) => compare(dump, golden, options));
    });
}

/** Options that say how a model is run. */
const RUN_FLAGS = runOptions(newCommand('compare'))
  .options.map((option) => option.attributeName())
  .filter((name) => name !== 'debug');

const dashed = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

const AFTER = `
touchstone diagnose THEIRS names the mistake behind a difference. Names of Hugging Face, MLX, Meta and llama.cpp are known, and those of a trace (fixtures/TRACE.md); layouts are recognised.
Exit codes: 0 nothing is different, 1 something is (with --strict: or suspicious), or it could not be compared; 2 wrong usage.`;
