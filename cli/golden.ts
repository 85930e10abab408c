import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { UsageError } from '../src/errors.js';
import type { Model } from '../src/model/load.js';
import { counterpart } from '../src/reference/trace/counterpart.js';
import { CAPTURES, type Capture } from '../src/reference/trace/format.js';
import { writeTrace } from '../src/reference/trace/index.js';
import { load, warnOfNotFinite } from './load-model.js';
import { MODEL } from './model-folder.js';
import { encodePrompt, expectNotRead, GROUPS, idList, newCommand, pause, readIds, wholeNumber } from './options.js';
import { progressBar, withBar } from './progress.js';
import { type RunFlags, runOptions } from './run-options.js';

interface Flags extends RunFlags {
  readonly out: string;
  readonly prompt?: string;
  readonly ids?: number[];
  readonly idsFile?: string;
  readonly steps: number;
  readonly capture: Capture;
  readonly layers?: number[];
  readonly positions?: number[];
  readonly noise?: true;
  readonly json?: true;
}

export function goldenCommand(): Command {
  const command = newCommand('golden')
    .description(
      'write the logits and the greedy continuation of a prompt to a file, and what each layer computes, for other implementations to be held against',
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
    .option('--json', 'print one JSON object: where it was written, token ids, margins')
    .optionsGroup(GROUPS.trace)
    .addOption(
      new Option(
        '--capture <what>',
        'logits alone; what each layer computes too; scores, probabilities and cache as well',
      )
        .choices(CAPTURES)
        .default('logits'),
    )
    .option('--layers <layers>', 'of these layers alone: 0-2,7', ranges)
    .option('--positions <positions>', 'of the tokens at these positions alone: 0,5-7', ranges)
    .option(
      '--noise',
      'store how far rounding takes each row from float64 too, which touchstone compare --golden needs',
    );
  return runOptions(command).action(async (given: string, flags: Flags) => {
    const prompts = [flags.prompt, flags.ids, flags.idsFile].filter((source) => source !== undefined);
    if (prompts.length !== 1)
      throw new UsageError(`Expected one of --prompt, --ids and --ids-file, got ${prompts.length || 'none'}.`);
    if (flags.layers && flags.capture === 'logits')
      throw new UsageError('--layers: goes with --capture layers or all; logits are of no layer.');
    const { folder, model, tokenizer } = await load(given, flags, flags.prompt === undefined ? 'logits' : 'text');
    const idsGiven = flags.ids ?? (flags.idsFile === undefined ? undefined : readIds(flags.idsFile));
    const ids = idsGiven ?? encodePrompt(flags.prompt!, tokenizer, folder);
    const { steps, prefillChunk, out, capture, layers, positions } = flags;
    expectNotRead(out, '--out', [folder], [flags.idsFile]);
    warnOfNotFinite(model);
    const other = model.options.precision === 'float64' ? 'float32' : 'float64';
    const noiseOf = flags.noise && counterpart(model, other, flags.ignoreConfigKey);
    const written = await withBar(progressBar('tokens'), ({ update: progress }) =>
      writeTrace(out, model, ids, { steps, prefillChunk, pause, progress, capture, layers, positions, noiseOf }),
    );
    warnOfResidual(model, ids.length + Math.max(steps - 1, 0));
    const { generatedIds, margins, tensors } = written;
    const { precision } = model.options;
    const logits = tensors.find(({ name }) => name === 'logits')!.shape;
    process.stdout.write(
      flags.json
        ? `${JSON.stringify({ out, logits, precision, capture, tensors: tensors.length, inputIds: ids, generatedIds, margins: [...margins] })}\n`
        : `${out}: logits [${logits.join(', ')}] in ${precision}, ${steps} generated tokens${capture === 'logits' ? '' : `, ${tensors.length} tensors`}\n`,
    );
  });
}

function warnOfResidual({ components }: Model, rows: number): void {
  const { residual, name } = components.format;
  if (residual <= rows) return;
  const unread = `none of ${rows} tokens is read as ${name}: they all lie in the residual of ${residual}`;
  process.stderr.write(`touchstone: ${unread}; feed more, or lower --kv-residual.\n`);
}

/** Reads `0-2,7`: whole numbers and ranges of them, in order. */
function ranges(text: string): number[] {
  const parts = text.split(',').map((part) => /^\s*(\d{1,9})(?:-(\d{1,9}))?\s*$/.exec(part));
  const spans = parts.map((part) => part && [Number(part[1]), Number(part[2] ?? part[1])]);
  if (spans.some((span) => !span || span[1]! < span[0]! || span[1]! - span[0]! > 1e6)) {
    throw new InvalidArgumentError('Expected whole numbers and ranges with commas between them, such as 0-2,7.');
  }
  const all = spans.flatMap((span) => Array.from({ length: span![1]! - span![0]! + 1 }, (_, i) => span![0]! + i));
  return [...new Set(all)].sort((a, b) => a - b);
}
