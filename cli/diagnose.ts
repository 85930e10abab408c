import { type Command, Option } from 'commander';
import { diagnose } from '../src/reference/diagnose/index.js';
import { openDump } from '../src/reference/dump/open.js';
import { numbersAsTexts } from './compare-json.js';
import { type DumpFlags, dumpOptions, readingOf } from './compare-options.js';
import { diagnosisText } from './diagnose-text.js';
import { load } from './load-model.js';
import { GROUPS, modelOption, newCommand, pause, wholeNumber } from './options.js';
import { progressBar, withBar } from './progress.js';
import { type RunFlags, runOptions } from './run-options.js';

interface Flags extends DumpFlags, RunFlags {
  readonly model: string;
  readonly pairs: boolean;
  readonly promptTokens?: number;
  readonly json?: true;
}

export function diagnoseCommand(): Command {
  const command = newCommand('diagnose')
    .description(
      'name the bug: which mistake of ports reproduces what another implementation computed; logits alone are enough',
    )
    .argument(
      '<theirs>',
      'what they computed: .safetensors, .npy, .npz or JSON, or a folder of .npy and .safetensors files',
    )
    .addOption(modelOption());
  return runOptions(
    dumpOptions(command)
      .addOption(
        new Option(
          '--prompt-tokens <n>',
          'tokens of their first pass, after which they went on one at a time (default: input_ids)',
        ).argParser(wholeNumber(1)),
      )
      .option('--no-pairs', 'look for one mistake alone, not for two together, which takes longest')
      .optionsGroup(GROUPS.output)
      .option('--json', 'one JSON object'),
  )
    .addHelpText('after', AFTER)
    .action(async (path: string, flags: Flags, self: Command) => {
      const reading = readingOf(flags);
      const theirs = openDump(path);
      try {
        const { model } = await load(flags.model, flags, 'logits');
        const found = await withBar(progressBar('runs'), ({ update }) =>
          diagnose(theirs, model, {
            ...reading,
            pairs: flags.pairs,
            promptTokens: flags.promptTokens,
            prefillChunk: flags.prefillChunk,
            ignoreConfigKeys: flags.ignoreConfigKey,
            pause,
            progress: update,
          }),
        );
        const embedded = 'No --model was given: ours is the model that comes with touchstone.';
        const isGiven = self.getOptionValueSource('model') === 'cli';
        const told = isGiven ? found : { ...found, notes: [embedded, ...found.notes] };
        const columns = process.stdout.columns ?? Number.POSITIVE_INFINITY;
        process.stdout.write(
          flags.json ? `${JSON.stringify(told, numbersAsTexts, 2)}\n` : diagnosisText(told, columns),
        );
        if (found.conclusion.kind !== 'within noise') process.exitCode = 1;
      } finally {
        theirs.close();
      }
    });
}

const AFTER = `
The mistakes that it knows: touchstone mutants. Those of caches need to know how their tokens were cut into passes: input_ids first (or --prefill-chunk,
--prompt-tokens), then generated_ids one at a time; pages are of 16 tokens (--cache paged --page-size). Those of quantised caches need --kv-dtype. Mistakes are run by the
reference kernel, over a cache that keeps everything.
Exit codes: 0 nothing is wrong, 1 something is, or it could not be compared; 2 wrong usage.`;
