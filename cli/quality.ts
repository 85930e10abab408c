import type { Command } from 'commander';
import type { KvAmax } from '../attention/cache/codec/format.js';
import { UsageError } from '../src/errors.js';
import { slotRefusal } from '../src/model/components.js';
import type { Model } from '../src/model/load.js';
import { calibrate, expectScalesOf, readScales } from '../src/reference/calibrate.js';
import { lossyForms, lossyRules, measureQuality, type Quality } from '../src/reference/quality.js';
import { loadPlain, warnOfNotFinite } from './load-model.js';
import { MODEL } from './model-folder.js';
import { encodeText, newCommand, pause, wholeNumber } from './options.js';
import { progressBar, withBar } from './progress.js';
import { type AttentionFlags, attentionOptions } from './run-options.js';
import { type Column, markdownTable } from './table.js';

interface Flags extends AttentionFlags {
  readonly text: string;
  readonly tokens?: number;
  readonly segment?: number;
  readonly lossyWindow?: number;
  readonly kvScales?: string;
  readonly json?: true;
}

export function qualityCommand(): Command {
  const command = newCommand('quality')
    .description(
      'measure what each lossy choice costs on a text: perplexity, KL divergence from the exact run, agreement of the likeliest token',
    )
    .argument('<model>', MODEL)
    .requiredOption('--text <file>', 'the text')
    .option('--tokens <n>', 'read this many tokens of it (default: all)', wholeNumber(2))
    .option('--segment <tokens>', "feed it in segments of this many (default: the model's context)", wholeNumber(2))
    .option(
      '--lossy-window <tokens>',
      'of the rules with a window, which are measured without --visibility and --rope-positions alone (default: a quarter of a segment)',
      wholeNumber(2),
    )
    .option(
      '--kv-scales <file>',
      'static scales of fp8, written by touchstone calibrate (default: measured on the text itself)',
    )
    .option('--json', 'print one JSON object');
  return attentionOptions(command).action(run);
}

async function run(name: string, flags: Flags): Promise<void> {
  const { folder, model, tokenizer } = await loadPlain(name, flags);
  const ids = encodeText(flags.text, tokenizer, folder).slice(0, flags.tokens);
  const segment = flags.segment ?? model.config.context;
  if (segment > model.config.context) {
    throw new UsageError(`--segment: the model's context is ${model.config.context} tokens, got ${segment}.`);
  }
  const ruled = flags.visibility !== 'auto' || flags.ropePositions !== 'absolute';
  const window = lossyWindowOf(flags, segment, ruled);
  warnOfNotFinite(model);
  const choices = lossyForms(await amaxFor(model, ids, flags.kvScales), segment);
  const all = [...choices, ...(ruled ? [] : lossyRules(window, model.config))];
  const found = await withBar(progressBar('tokens'), ({ update: progress }) =>
    measureQuality(model, ids, all, { segment, progress, pause }),
  );
  const refusal = model.config.layers.map(({ attention }) => slotRefusal(attention)).find(Boolean);
  if (refusal && !ruled) process.stderr.write(`touchstone: left out: ${refusal}\n`);
  if (flags.json)
    process.stdout.write(`${JSON.stringify({ model: folder, tokens: ids.length, segment, choices: found })}\n`);
  else process.stdout.write(text(folder, ids.length, segment, found));
}

/** @throws UsageError for a window that nothing would use, or that hides nothing */
function lossyWindowOf({ lossyWindow }: Flags, segment: number, ruled: boolean): number {
  if (lossyWindow === undefined) return Math.max(Math.floor(segment / 4), 2);
  if (ruled) {
    throw new UsageError(
      '--lossy-window: rules with a window are measured without --visibility and --rope-positions alone; leave it out.',
    );
  }
  if (lossyWindow < segment) return lossyWindow;
  throw new UsageError(
    `--lossy-window: a window of ${lossyWindow} hides nothing in segments of ${segment}; give a smaller one.`,
  );
}

async function amaxFor(model: Model, ids: readonly number[], file: string | undefined): Promise<KvAmax> {
  if (file === undefined) return calibrate(model, ids, pause);
  const scales = readScales(file);
  expectScalesOf(model, scales, file);
  return scales.amax;
}

function text(folder: string, tokens: number, segment: number, found: readonly Quality[]): string {
  const [exact] = found as [Quality];
  const rows = found.map(({ name, kvBytes, perplexity, meanKl, maxKl, top1 }) => [
    name,
    kvBytes.toLocaleString('en-US'),
    (kvBytes / exact.kvBytes).toFixed(3),
    perplexity.toFixed(3),
    meanKl.toExponential(1),
    maxKl.toExponential(1),
    `${(100 * top1).toFixed(1)} %`,
  ]);
  const head = ['stored or seen as', 'KV bytes', 'of exact', 'perplexity', 'mean KL', 'max KL', 'same top-1'];
  const columns = head.map((title, i): Column => ({ title, align: i === 0 ? 'left' : 'right' }));
  return `${folder}: ${tokens} tokens in segments of ${segment}\n\n${markdownTable(columns, rows)}`;
}
