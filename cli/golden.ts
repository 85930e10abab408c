import type { Command } from 'commander';
import { UsageError } from '../src/errors.js';
import { makeGolden, writeGolden } from '../src/reference/golden.js';
import { load, warnOfNotFinite } from './load-model.js';
import { MODEL } from './model-folder.js';
import { encodePrompt, expectNotRead, idList, newCommand, pause, readIds, wholeNumber } from './options.js';
import { progressBar, withBar } from './progress.js';
import { type RunFlags, runOptions } from './run-options.js';

interface Flags extends RunFlags {
  readonly out: string;
  readonly prompt?: string;
  readonly ids?: number[];
  readonly idsFile?: string;
  readonly steps: number;
  readonly json?: true;
}

export function goldenCommand(): Command {
  const command = newCommand('golden')
    .description(
      'write the logits and the greedy continuation of a prompt to a file, for other implementations to be held against',
    )
    .argument('<model>', MODEL)
    .requiredOption('--out <file>', 'where to write: a .safetensors file')
    .option('--prompt <text>', 'prompt as text')
    .option('--ids <ids>', 'prompt as token ids: 1,2,3', idList)
    .option('--ids-file <file>', 'prompt as a JSON array of token ids')
    .option(
      '--steps <n>',
      'greedy tokens after the prompt (an end-of-sequence token does not end them)',
      wholeNumber(0),
      0,
    )
    .option('--json', 'print one JSON object: where it was written, token ids, margins');
  return runOptions(command).action(async (given: string, flags: Flags) => {
    const prompts = [flags.prompt, flags.ids, flags.idsFile].filter((source) => source !== undefined);
    if (prompts.length !== 1)
      throw new UsageError(`Expected one of --prompt, --ids and --ids-file, got ${prompts.length || 'none'}.`);
    const { folder, model, tokenizer } = await load(given, flags, flags.prompt === undefined ? 'logits' : 'text');
    const idsGiven = flags.ids ?? (flags.idsFile === undefined ? undefined : readIds(flags.idsFile));
    const ids = idsGiven ?? encodePrompt(flags.prompt!, tokenizer, folder);
    const { steps, prefillChunk, out } = flags;
    expectNotRead(out, '--out', folder, [flags.idsFile]);
    warnOfNotFinite(model);
    const golden = await withBar(progressBar('tokens'), ({ update: progress }) =>
      makeGolden(model, ids, model.components.newCache(), { steps, prefillChunk, pause, progress }),
    );
    writeGolden(out, golden, model);
    const rows = golden.logits.length / golden.vocabulary;
    const { residual, name } = model.components.format;
    if (residual > rows) {
      const unread = `none of ${rows} tokens is read as ${name}: they all lie in the residual of ${residual}`;
      process.stderr.write(`touchstone: ${unread}; feed more, or lower --kv-residual.\n`);
    }
    const { vocabulary, generatedIds } = golden;
    const { precision } = model.options;
    process.stdout.write(
      flags.json
        ? `${JSON.stringify({ out, logits: [rows, vocabulary], precision, inputIds: ids, generatedIds, margins: [...golden.margins] })}\n`
        : `${out}: logits [${rows}, ${vocabulary}] in ${precision}, ${steps} generated tokens\n`,
    );
  });
}
