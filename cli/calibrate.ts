import type { Command } from 'commander';
import { calibrate, writeScales } from '../src/reference/calibrate.js';
import { loadPlain, warnOfNotFinite } from './load-model.js';
import { encodeText, expectNotRead, newCommand, pause } from './options.js';
import { type AttentionFlags, attentionOptions } from './run-options.js';

interface Flags extends AttentionFlags {
  readonly text: string;
  readonly out: string;
}

export function calibrateCommand(): Command {
  const command = newCommand('calibrate')
    .description('measure the largest keys and values on a text, for the static scales of fp8 caches (--kv-scales)')
    .argument('<model>', 'checkpoint folder in Hugging Face form')
    .requiredOption('--text <file>', 'the text to measure on')
    .requiredOption('--out <file>', 'where to write: a .json file');
  return attentionOptions(command).action(async (folder: string, flags: Flags) => {
    const { model, tokenizer } = await loadPlain(folder, flags);
    const ids = encodeText(flags.text, tokenizer, folder);
    expectNotRead(flags.out, '--out', folder, [flags.text]);
    warnOfNotFinite(model);
    const amax = await calibrate(model, ids, pause);
    writeScales(flags.out, amax, ids.length, model);
    process.stdout.write(
      `${flags.out}: the largest values of ${amax.length} layers on ${ids.length.toLocaleString('en-US')} tokens\n`,
    );
  });
}
