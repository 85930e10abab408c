import type { Command } from 'commander';
import { compare } from '../src/reference/compare/index.js';
import { type CompareFlags, compared, compareOptions } from './compare-options.js';
import { load } from './load-model.js';
import { modelOption, newCommand } from './options.js';
import { type RunFlags, runOptions } from './run-options.js';

interface Flags extends CompareFlags, RunFlags {
  readonly model: string;
  readonly at: string[];
}

export function spliceCommand(): Command {
  const command = newCommand('splice')
    .description(
      'put their tensors into our pass, go on from there, and compare what follows: what is wrong lies before, if the rest is within noise',
    )
    .argument(
      '<theirs>',
      'what they computed: .safetensors, .npy, .npz or JSON, or a folder of .npy and .safetensors files',
    )
    .requiredOption(
      '--at <points>',
      'where our pass goes on with theirs, by the names of a trace (layers.2.output), or theirs',
      pointList,
    )
    .addOption(modelOption());
  return runOptions(compareOptions(command))
    .addHelpText('after', AFTER)
    .action(async (theirs: string, flags: Flags) => {
      await compared(theirs, flags, [flags.model], async (dump, options) => {
        const { model } = await load(flags.model, flags, 'logits');
        return compare(dump, model, {
          ...options,
          spliceAt: flags.at,
          prefillChunk: flags.prefillChunk,
          ignoreConfigKeys: flags.ignoreConfigKey,
        });
      });
    });
}

function pointList(text: string, before: string[] = []): string[] {
  return [...before, ...text.split(',').map((point) => point.trim())];
}

const AFTER = `
Exit codes: 0 nothing that follows is different, 1 something is, or it could not be compared; 2 wrong usage.`;
