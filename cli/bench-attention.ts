import { accessSync, constants } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { KV_DTYPES, type KvDtype } from '../attention/cache/codec/format.js';
import { TouchstoneError, UsageError } from '../src/errors.js';
import { writeAtomically } from '../src/files.js';
import { rowBytesOf } from '../src/reference/attention-bench/attention-pass.js';
import {
  BENCH_KERNELS,
  type BenchKernelName,
  benchedKernels,
  type Contender,
  contendersOf,
  DEFAULT_KERNELS,
} from '../src/reference/attention-bench/contenders.js';
import { attentionBench, type BenchCell, type BenchOptions } from '../src/reference/attention-bench/index.js';
import { BENCH_SHAPES, type BenchShape, benchShapeOf } from '../src/reference/attention-bench/shapes.js';
import { attentionBenchPlot } from './bench-attention-plot.js';
import { type AttentionBench, unmeasuredOf, wrongOf } from './bench-attention-report.js';
import { attentionBenchText } from './bench-attention-text.js';
import { bytesText } from './bytes.js';
import { newCommand, pause, positive, wholeNumber, wholeNumbers } from './options.js';

interface Flags {
  readonly shapes?: readonly BenchShape[];
  /** false: --no-decode */
  readonly decode?: readonly number[] | false;
  readonly prefill?: readonly number[] | false;
  readonly kernels?: readonly BenchKernelName[];
  readonly cache: 'contiguous' | 'paged';
  readonly pageSize?: number;
  readonly kvDtype: KvDtype;
  readonly seconds: number;
  readonly seed: number;
  readonly json?: true;
  readonly svg?: string;
}

/** One of each kind: a key/value head for each query head, groups of three and of four, and a latent. */
const SHAPES = ['gpt2', 'smollm2-135m', 'llama-3.1-8b', 'deepseek-v2-lite'];
const DECODE = [128, 512, 1024, 4096, 16_384];
const PREFILL = [64, 256, 1024];
const DEFAULT_PAGE = 16;

export function attentionCommand(): Command {
  const command = newCommand('attention', 'bench attention').description(
    'time attention kernels against each other, by turns, on one layer of one sequence: milliseconds, GB/s, and how often as fast as the plain loops',
  );
  const lengths = wholeNumbers('tokens', '128,1024');
  return command
    .option('--shapes <list>', `of ${BENCH_SHAPES.map(({ name }) => name).join(', ')}, or query heads/key/value heads/head dim, such as 32/8/128 (default: ${SHAPES})`, shapeList) // biome-ignore format: one option
    .option('--decode <list>', `tokens that a decode step reads (default: ${DECODE})`, lengths)
    .option('--no-decode', 'no decode steps')
    .option('--prefill <list>', `tokens of a prompt (default: ${PREFILL})`, lengths)
    .option('--no-prefill', 'no prompts')
    .option('--kernels <list>', `of ${Object.keys(BENCH_KERNELS).join(', ')}: those that are named must be there (default: ${DEFAULT_KERNELS}, as far as they can be had)`, kernelList) // biome-ignore format: one option
    .addOption(
      new Option('--cache <cache>', 'where the rows lie').choices(['contiguous', 'paged']).default('contiguous'),
    )
    .option('--page-size <tokens>', `of paged: tokens a page (default: ${DEFAULT_PAGE})`, wholeNumber(1))
    .addOption(new Option('--kv-dtype <dtype>', 'form of the rows').choices(KV_DTYPES).default('float32'))
    .option(
      '--seconds <n>',
      'for all kernels together on one shape and length, after as long a warm-up (slow ones take longer)',
      positive,
      0.5,
    )
    .option('--seed <n>', 'that rows and queries are drawn with', wholeNumber(0), 0)
    .option('--json', 'print one JSON object')
    .option('--svg <file>', 'write a plot of time over tokens')
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  const options = optionsOf(flags);
  if (flags.svg !== undefined) expectFolder(flags.svg);
  const names = flags.kernels ?? DEFAULT_KERNELS;
  const kernels = Object.entries(BENCH_KERNELS).filter(([name]) => names.includes(name as BenchKernelName));
  const { contenders, leftOut } = await contendersOf(Object.fromEntries(kernels), flags.kernels !== undefined);
  const cells = await measured(options, contenders);
  const { cache, pageSize, dtype, seed, seconds } = options;
  const settings = { cache, pageSize, dtype, seed, seconds };
  const bench = { machine: machineOf(), settings, kernels: await benchedKernels(contenders), leftOut, cells };
  process.stdout.write(flags.json ? `${JSON.stringify(bench)}\n` : attentionBenchText(bench));
  if (flags.svg !== undefined) {
    writeAtomically(flags.svg, [Buffer.from(attentionBenchPlot(bench))]);
    process.stderr.write(`${flags.svg}: time over tokens of ${cells.length} passes\n`);
  }
  if (wrongOf(cells).length > 0) process.exitCode = 1;
  expectMeasured(flags.kernels ?? [], cells);
}

/** @throws UsageError for flags that leave nothing to do, or that nothing would use */
function optionsOf(flags: Flags): BenchOptions {
  const { decode = DECODE, prefill = PREFILL, cache, pageSize, kvDtype: dtype, seconds, seed } = flags;
  const shapes = flags.shapes ?? SHAPES.map((name) => benchShapeOf(name)!);
  if (!decode && !prefill) throw new UsageError('--no-decode and --no-prefill leave nothing to time; leave one out.');
  if (cache !== 'paged' && pageSize !== undefined) throw new UsageError('--page-size: goes with --cache paged.');
  if (seed >= 2 ** 32) throw new UsageError(`--seed: expected a whole number from 0 to 4294967295, got ${seed}.`);
  const tokens = { decode: ascending(decode || []), prefill: ascending(prefill || []) };
  expectMemory(shapes, Math.max(...tokens.decode, ...tokens.prefill), dtype);
  return { shapes, tokens, cache, pageSize: pageSize ?? DEFAULT_PAGE, dtype, seconds, seed, pause };
}

/** @throws UsageError for rows that this machine has no room for */
function expectMemory(shapes: readonly BenchShape[], tokens: number, dtype: KvDtype): void {
  for (const shape of shapes) {
    const bytes = rowBytesOf(shape, tokens, { dtype });
    if (bytes <= totalmem()) continue;
    const [needed, held] = [bytes, totalmem()].map(bytesText);
    throw new UsageError(
      `${shape.name}: rows of ${tokens} tokens take ${needed}, and this machine has ${held}; give fewer.`,
    );
  }
}

function ascending(lengths: readonly number[]): number[] {
  return [...new Set(lengths)].sort((a, b) => a - b);
}

/** @throws TouchstoneError for kernels that were asked for by name, and were left out everywhere */
function expectMeasured(named: readonly BenchKernelName[], cells: readonly BenchCell[]): void {
  const without = unmeasuredOf(named, cells);
  if (without.length === 0) return;
  const reasons = cells.flatMap(({ leftOut }) => leftOut.filter(({ kernel }) => kernel === without[0]));
  throw new TouchstoneError(`--kernels: nothing could be measured of ${without.join(', ')}. ${reasons[0]!.reason}`);
}

/** A run takes minutes: a file that cannot be written is told of before it. */
function expectFolder(file: string): void {
  try {
    accessSync(dirname(file), constants.W_OK);
  } catch (error) {
    throw new TouchstoneError(`${file}: cannot be written (${(error as NodeJS.ErrnoException).code}).`);
  }
}

async function measured(options: BenchOptions, contenders: readonly Contender[]): Promise<BenchCell[]> {
  const { shapes, tokens } = options;
  const of = shapes.length * (tokens.decode.length + tokens.prefill.length);
  const cells: BenchCell[] = [];
  for await (const cell of attentionBench(options, contenders)) {
    cells.push(cell);
    const end = cells.length === of ? '\n' : '';
    if (process.stderr.isTTY) process.stderr.write(`\r${cells.length} of ${of} shapes and lengths${end}`);
  }
  return cells;
}

function machineOf(): AttentionBench['machine'] {
  const all = cpus();
  const processor = all[0]?.model.trim() || 'unknown processor';
  return {
    node: process.version.slice(1),
    system: `${process.platform} ${process.arch}`,
    processor,
    processors: all.length,
  };
}

/** Reads `gpt2,32/8/128`. */
function shapeList(text: string): BenchShape[] {
  const shapes = namesIn(text).map((name) => {
    const shape = benchShapeOf(name);
    if (shape) return shape;
    throw new InvalidArgumentError(`'${name}' is no shape: expected ${BENCH_SHAPES.map((one) => one.name).join(', ')}, or three numbers such as 32/8/128, query heads a multiple of key/value heads.`); // biome-ignore format: one sentence
  });
  return shapes;
}

/** Reads `reference,wasm`. */
function kernelList(text: string): BenchKernelName[] {
  const names = namesIn(text);
  const unknown = names.find((name) => !(name in BENCH_KERNELS));
  if (unknown === undefined) return names as BenchKernelName[];
  throw new InvalidArgumentError(
    `'${unknown}' is no kernel here: expected ${Object.keys(BENCH_KERNELS).join(', ')} (the kernel gpu goes by its devices).`,
  );
}

function namesIn(text: string): string[] {
  return [...new Set(text.split(',').map((part) => part.trim()))];
}
