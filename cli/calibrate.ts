import type { Command } from 'commander';
import { calibrate, writeScales } from '../src/reference/calibrate.js';
import { loadPlain, warnOfNotFinite } from './load-model.js';
import { MODEL } from './model-folder.js';
import { encodeText, expectNotRead, newCommand, pause } from './options.js';
import { progressBar, withBar } from './progress.js';
import { type AttentionFlags, attentionOptions } from './run-options.js';

interface Flags extends AttentionFlags {
  readonly text: string;
  readonly out: string;
  readonly json?: true;
}

export function calibrateCommand(): Command {
  const command = newCommand('calibrate')
    .description('measure the largest keys and values on a text, for the static scales of fp8 caches (--kv-scales)')
    .argument('<model>', MODEL)
    .requiredOption('--text <file>', 'the text to measure on')
    .requiredOption('--out <file>', 'where to write: a .json file')
    .option('--json', 'print one JSON object');
  return attentionOptions(command).action(async (name: string, flags: Flags) => {
    const { folder, model, tokenizer } = await loadPlain(name, flags);
    const ids = encodeText(flags.text, tokenizer, folder);
    expectNotRead(flags.out, '--out', [folder], [flags.text]);
    warnOfNotFinite(model);
    const amax = await withBar(progressBar('tokens'), ({ update }) => calibrate(model, ids, pause, update));
    writeScales(flags.out, amax, ids.length, model);
    const { out } = flags;
    process.stdout.write(
      flags.json
        ? `${JSON.stringify({ out, layers: amax.length, tokens: ids.length, amax })}\n`
        : `${out}: the largest values of ${amax.length} layers on ${ids.length.toLocaleString('en-US')} tokens\n`,
    );
  });
}
