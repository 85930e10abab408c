import type { Command } from 'commander';
import type { Comparison } from '../src/reference/compare/comparison.js';
import { worstOf } from '../src/reference/compare/comparison.js';
import { compare } from '../src/reference/compare/index.js';
import { inFlow } from '../src/reference/compare/names.js';
import { partingsOf } from '../src/reference/compare/tensors.js';
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
      'where our pass goes on with theirs, by the names of a trace: layers.2.output',
      pointList,
    )
    .addOption(modelOption());
  return runOptions(compareOptions(command))
    .addHelpText('after', AFTER)
    .action(async (theirs: string, flags: Flags) => {
      await compared(theirs, flags, [flags.model], async (dump, options) => {
        const { model } = await load(flags.model, flags, 'logits');
        const found = await compare(dump, model, {
          ...options,
          spliceAt: flags.at,
          ignoreConfigKeys: flags.ignoreConfigKey,
        });
        return after(found, flags.at);
      });
    });
}

/** What follows the last splice. */
function after(found: Comparison, at: readonly string[]): Comparison {
  const last = [...at].sort(inFlow).at(-1)!;
  const tensors = found.tensors.filter(({ name }) => inFlow(name, last) > 0);
  const verdict = worstOf([
    ...tensors.map((tensor) => tensor.verdict),
    ...(found.tokens ? [found.tokens.verdict] : []),
  ]);
  const rest = verdict === 'different' ? 'something after it is wrong too' : 'what is wrong lies there or before it';
  const conclusion = `From ${at.join(', ')} on ours went on with theirs, and what follows is ${verdict}: ${rest}.`;
  return { ...found, verdict, tensors, first: partingsOf(tensors)[0] ?? null, conclusion };
}

function pointList(text: string, before: string[] = []): string[] {
  return [...before, ...text.split(',').map((point) => point.trim())];
}

const AFTER = `
Exit codes: 0 nothing that follows is different, 1 something is, or it could not be compared; 2 wrong usage.`;
