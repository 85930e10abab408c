import type { Command } from 'commander';
import { Option } from 'commander';
import { UsageError } from '../src/errors.js';
import { convertHeads } from '../src/model/convert-heads.js';
import { folderOf, MODEL } from './model-folder.js';
import { ignoreOption, newCommand, wholeNumber } from './options.js';

interface Flags {
  readonly keyValueHeads?: number;
  readonly to?: 'mha' | 'mqa';
  readonly ignoreConfigKey?: string[];
  readonly json?: true;
}

export function convertCommand(): Command {
  return newCommand('convert')
    .description(
      'write a checkpoint with another number of key/value heads: fewer by their mean, more by repeating them',
    )
    .argument('<model>', MODEL)
    .argument('<out>', 'folder to write, which must not be there yet')
    .option('--key-value-heads <n>', 'heads of keys and values afterwards', wholeNumber(1))
    .addOption(new Option('--to <form>', 'mqa: one head; mha: as many as query heads').choices(['mha', 'mqa']))
    .addOption(ignoreOption())
    .option('--json', 'print one JSON object')
    .action(async (model: string, out: string, flags: Flags) => {
      if ((flags.keyValueHeads === undefined) === (flags.to === undefined)) {
        throw new UsageError('Expected one of --key-value-heads N, --to mqa and --to mha.');
      }
      const heads = flags.keyValueHeads ?? (flags.to as 'mha' | 'mqa');
      const done = convertHeads(await folderOf(model, 'logits'), out, heads, flags.ignoreConfigKey ?? []);
      const effect = done.kind === 'repeated' ? 'the same logits' : 'another model: train it further';
      const text = `${out}: ${done.from} key/value heads ${done.kind} to ${done.to} in ${done.tensors.length} tensors (${effect})\n`;
      process.stdout.write(flags.json ? `${JSON.stringify({ out, ...done })}\n` : text);
    });
}
