import { type Command, Option } from 'commander';
import { writeKit } from '../src/reference/kit/index.js';
import { KIT_RECIPES } from '../src/reference/kit/recipes.js';
import { bytesText } from './bytes.js';
import { collected, newCommand, pause } from './options.js';
import { progressBar, withBar } from './progress.js';

interface Flags {
  readonly only?: string[];
  readonly json?: true;
}

const EXAMPLES = `
Examples:
  touchstone kit conformance
  touchstone kit conformance --only gqa --only mla

Its README says, for people without Node or Python, what is in it, what passes, and where to begin.`;

export function kitCommand(): Command {
  return newCommand('kit')
    .description(
      'write a folder of small checkpoints with all that a forward pass computes of them, to test an implementation in any language with, offline',
    )
    .argument('<out>', 'folder to write, which must be empty or not there yet')
    .addOption(
      new Option('--only <name>', 'this checkpoint alone; repeatable')
        .choices(KIT_RECIPES.map(({ name }) => name))
        .argParser(collected),
    )
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action(async (out: string, { only, json }: Flags) => {
      const done = await withBar(progressBar('traces'), ({ update: progress }) =>
        writeKit(out, { only, pause, progress }),
      );
      const { checkpoints, traces, files, bytes } = done;
      const text = `${out}: ${checkpoints.length} checkpoints with ${traces.length} traces, ${files} files, ${bytesText(bytes)}; begin with its README.md\n`;
      process.stdout.write(json ? `${JSON.stringify({ out, ...done })}\n` : text);
    });
}
