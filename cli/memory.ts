import { type Command, InvalidArgumentError, Option } from 'commander';
import { STRATEGIES, type StrategyName } from '../attention/strategy/index.js';
import { UsageError } from '../src/errors.js';
import { MEMORY_FORMATS, type MemoryReport, memoryReport } from '../src/reference/memory.js';
import { layerGroups } from '../src/reference/memory-shape.js';
import { PRESETS } from '../src/reference/presets.js';
import { byteCount } from './bytes.js';
import { type ShapeFlags, shapeOf, shapeOptions } from './memory-shape.js';
import { memoryText, presetsText } from './memory-text.js';
import { MODEL } from './model-folder.js';
import { collected, ignoreOption, newCommand, wholeNumber } from './options.js';

interface Flags extends ShapeFlags {
  readonly context?: number;
  readonly batch?: number;
  readonly memory?: number;
  readonly weights?: number;
  readonly pageSize?: number;
  readonly kvGroup?: number;
  readonly maxContext?: number;
  readonly attention?: StrategyName[];
  readonly kvDtype?: string[];
  readonly ignoreConfigKey?: string[];
  readonly list?: true;
  readonly json?: true;
  readonly chart: boolean;
}

export function memoryCommand(): Command {
  const command = newCommand('memory')
    .description(
      'print what the key/value cache takes, for every attention strategy and dtype, and the batch that fits',
    )
    .argument('[model]', `a preset (--list prints them), or a ${MODEL} (default: the embedded one)`);
  return shapeOptions(command)
    .option('--context <tokens>', "tokens of a sequence (default: the model's context)", wholeNumber(1))
    .option('--batch <n>', 'sequences at once (default: 1)', wholeNumber(1))
    .option('--memory <bytes>', 'for weights and caches together, such as 80GB, 80GiB or 24e9', byteCount(1))
    .option('--weights <bytes>', 'of the weights, such as 141GB (default: as the model was published)', byteCount(0))
    .option('--page-size <tokens>', 'of paged: tokens a page (default: 16)', wholeNumber(1))
    .option('--kv-group <values>', 'of int8 and int4: values that share a scale (default: 32)', wholeNumber(1))
    .option(
      '--max-context <tokens>',
      "of preallocated: tokens (default: the model's context, or --context if that is longer)",
      wholeNumber(1),
    )
    .addOption(choices('--attention <strategy>', 'only this strategy; repeatable', Object.keys(STRATEGIES)))
    .addOption(choices('--kv-dtype <dtype>', 'only this form of the cache; repeatable', Object.keys(MEMORY_FORMATS)))
    .addOption(ignoreOption())
    .option('--list', 'print the presets')
    .option('--json', 'print one JSON object, with every figure in bytes')
    .option('--no-chart', 'leave the chart out')
    .action((model: string | undefined, flags: Flags) => (flags.list ? printPresets(model, flags) : run(model, flags)));
}

/** An option that may be given several times, each time one of these. */
function choices(flags: string, about: string, names: readonly string[]): Option {
  return new Option(flags, about).choices(names).argParser((value, before: string[] | undefined) => {
    if (names.includes(value)) return collected(value, before);
    throw new InvalidArgumentError(`Allowed choices are ${names.join(', ')}.`);
  });
}

async function run(model: string | undefined, flags: Flags): Promise<void> {
  const shape = await shapeOf(model, flags, flags.ignoreConfigKey ?? []);
  const report = filtered(memoryReport(shape, flags), flags);
  const json = () => `${JSON.stringify({ ...report, layers: layerGroups(shape) })}\n`;
  process.stdout.write(flags.json ? json() : memoryText(shape, report, flags.chart ? widthOfTerminal() : null));
}

function printPresets(model: string | undefined, flags: Flags): void {
  const others = Object.keys(flags).filter((flag) => !['list', 'json', 'chart', 'debug'].includes(flag));
  if (model !== undefined || others.length > 0) {
    throw new UsageError('--list prints every preset and goes with --json alone; leave the rest out.');
  }
  const presets = PRESETS.map((preset) => ({ ...preset, layers: layerGroups(preset) }));
  process.stdout.write(flags.json ? `${JSON.stringify(presets)}\n` : presetsText());
}

/** Only the rows that were asked for. @throws UsageError if there are none */
function filtered(report: MemoryReport, { attention, kvDtype }: Flags): MemoryReport {
  const strategies = [...new Set(report.rows.map(({ strategy }) => strategy))];
  const unknown = attention?.find((name) => !strategies.includes(name));
  if (unknown) {
    throw new UsageError(
      `--attention ${unknown}: ${report.model} stores nothing of its own under that name (strategies that store the same are shown once); expected one of ${strategies.join(', ')}.`,
    );
  }
  const rows = report.rows.filter(
    (row) => (attention?.includes(row.strategy) ?? true) && (kvDtype?.includes(row.kvDtype) ?? true),
  );
  return { ...report, rows };
}

/** Where the output is no terminal, as wide as most pages. */
function widthOfTerminal(): number {
  return Math.min(Math.max(process.stdout.columns ?? 100, 80), 100);
}
