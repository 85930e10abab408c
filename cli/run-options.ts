/** The options that decide how a model is run. */
import { type Command, Option } from 'commander';
import {
  KV_CHOICES,
  KV_DTYPES,
  type KvAmax,
  type KvConfig,
  type KvDtype,
  membersOf,
} from '../attention/cache/codec/format.js';
import { CACHE_SIZES, CACHES, type CacheName, type CacheSizes } from '../attention/cache/index.js';
import { DEVICE_CHOICES } from '../attention/kernel/gpu/devices.js';
import { KERNELS } from '../attention/kernel/index.js';
import { POSITION_POLICIES } from '../attention/slots.js';
import { STRATEGIES } from '../attention/strategy/index.js';
import { VISIBILITIES, type VisibilityConfig, type VisibilityName } from '../attention/visibility/index.js';
import { UsageError } from '../src/errors.js';
import type { RunOptions } from '../src/model/components.js';
import { EMULATED_PRECISIONS, type EmulatedPrecision } from '../src/tensor/emulated.js';
import { type Precision, TRUE_PRECISIONS } from '../src/tensor/tensor.js';
import { GROUPS, ignoreOption, ropeLengthOption, wholeNumber } from './options.js';

const names = (table: object) => Object.keys(table);

/** What `attentionOptions` adds to a command: how queries meet keys, and in what precision. */
export interface AttentionFlags extends Pick<RunOptions, 'attention' | 'kernel' | 'device' | 'precision'> {
  readonly ropePositions: RunOptions['positions'];
  readonly visibility: VisibilityName | 'auto';
  readonly window?: number;
  readonly sinks?: number;
  readonly attentionChunk?: number;
  readonly emulate?: EmulatedPrecision;
  readonly ropeLength?: number;
  readonly ignoreConfigKey?: string[];
}

/** What `cacheOptions` adds: where keys and values live, and in what form. */
interface CacheFlags extends Partial<CacheSizes> {
  readonly cache: CacheName;
  readonly kvDtype: KvDtype | 'auto';
  readonly kvScale?: KvConfig['scale'];
  readonly kvScales?: string;
  readonly kvZero?: KvConfig['zero'];
  readonly kvKeys?: KvConfig['keys'];
  readonly kvGroup?: number;
  readonly kvResidual?: number;
  readonly kvScaleDtype?: KvConfig['scaleDtype'];
}

export interface RunFlags extends AttentionFlags, CacheFlags {
  readonly prefillChunk?: number;
}

function choice(command: Command, flags: string, about: string, choices: readonly string[], fallback?: string): void {
  const option = new Option(flags, about).choices(choices);
  command.addOption(fallback === undefined ? option : option.default(fallback));
}

/** `--attention` to `--prefill-chunk`: what every command that runs a model as its user wants it has. */
export function runOptions(command: Command): Command {
  cacheOptions(attentionOptions(command));
  const about = 'feed the prompt this many tokens at a time (same bits)';
  command.optionsGroup(GROUPS.run);
  return command.option('--prefill-chunk <tokens>', about, wholeNumber(1));
}

/** What everything is computed in. @throws UsageError for two precisions at once */
export function precisionOf({ precision, emulate }: Pick<AttentionFlags, 'precision' | 'emulate'>): Precision {
  if (emulate === undefined) return precision;
  if (precision === 'float32') return emulate;
  throw new UsageError(
    `--emulate ${emulate} goes with no --precision ${precision}: it computes in float32, and rounds that; leave one of them out.`,
  );
}

export function attentionOptions(command: Command): Command {
  command.optionsGroup(GROUPS.run);
  choice(command, '--attention <strategy>', 'attention strategy', ['auto', ...names(STRATEGIES)], 'auto');
  const rules = ['auto', ...names(VISIBILITIES)];
  choice(command, '--visibility <rule>', 'which keys a query sees (auto: as the config says)', rules, 'auto');
  command
    .option('--window <tokens>', 'of sliding and sinks: tokens that a query sees, itself counted', wholeNumber(1))
    .option('--sinks <tokens>', 'of sinks: first tokens that every query sees', wholeNumber(1))
    .option('--attention-chunk <tokens>', 'of chunked: tokens a chunk', wholeNumber(1));
  const positions = 'what rope rotates a token to: its place in the text, or in the cache';
  choice(command, '--rope-positions <policy>', positions, POSITION_POLICIES, 'absolute');
  choice(command, '--kernel <kernel>', 'attention kernel', names(KERNELS), 'reference');
  const device = 'of gpu: what runs it (auto: a GPU through WebGPU, else the processor through WebAssembly)';
  choice(command, '--device <device>', device, DEVICE_CHOICES, 'auto');
  choice(command, '--precision <precision>', 'what everything is computed in', TRUE_PRECISIONS, 'float32');
  const emulation = 'round weights, and what each operation gives, to this dtype, as PyTorch does when it runs in it';
  choice(command, '--emulate <dtype>', emulation, EMULATED_PRECISIONS);
  return command.addOption(ropeLengthOption()).addOption(ignoreOption());
}

function cacheOptions(command: Command): Command {
  command.optionsGroup(GROUPS.cache);
  choice(command, '--cache <cache>', 'key/value cache', names(CACHES), 'contiguous');
  command
    .option(
      '--page-size <tokens>',
      'of paged, prefix and radix: tokens a page (default: 16, in whole groups for keys by channel)',
      wholeNumber(1),
    )
    .option(
      '--pool-pages <n>',
      'of paged, prefix and radix: the most pages in the pool (default: as many as are needed)',
      wholeNumber(1),
    )
    .option('--cache-tokens <n>', "of preallocated: tokens (default: the model's context)", wholeNumber(1));
  choice(command, '--kv-dtype <dtype>', 'dtype the cache stores (auto: the precision)', ['auto', ...KV_DTYPES], 'auto');
  const { scale, zero, keys, scaleDtype } = KV_CHOICES;
  choice(
    command,
    '--kv-scale <scale>',
    "of fp8: scales of 1 everywhere (one), or static ones for a layer's keys and values (tensor), or for each head of them (default: one)",
    scale,
  );
  command.option('--kv-scales <file>', 'of fp8: what the scales are made of, written by touchstone calibrate');
  choice(
    command,
    '--kv-zero <zero>',
    'of int8 and int4: scales around zero, or scales and minima (default: symmetric)',
    zero,
  );
  choice(command, '--kv-keys <axis>', 'of int8 and int4: what the groups of keys run along (default: token)', keys);
  command
    .option('--kv-group <values>', 'of int8 and int4: values that share a scale (default: 32)', wholeNumber(1))
    .option(
      '--kv-residual <tokens>',
      'of int8 and int4: tokens since the last multiple of this stay as they were computed (default: 128 for keys by channel, else 0)',
      wholeNumber(0),
    );
  choice(
    command,
    '--kv-scale-dtype <dtype>',
    'of int8 and int4: dtype of scales and minima (default: float16)',
    scaleDtype,
  );
  return command;
}

type Sizes = Readonly<Record<string, number | string | undefined>>;

/** @throws UsageError for a size that is missing, or that nothing would use */
function expectSizes(
  chosen: string,
  needed: readonly string[],
  given: Sizes,
  uses: (size: string) => readonly string[],
): void {
  for (const [size, value] of Object.entries(given)) {
    if (value !== undefined && !needed.includes(size)) {
      throw new UsageError(`${FLAGS[size]}: goes with ${chosen.split(' ')[0]} ${uses(size).join(' or ')}.`);
    }
    if (value === undefined && needed.includes(size) && REQUIRED.has(size)) {
      throw new UsageError(`${chosen}: needs ${FLAGS[size]} TOKENS.`);
    }
  }
}

const FLAGS: Readonly<Record<string, string>> = {
  window: '--window',
  chunk: '--attention-chunk',
  sinks: '--sinks',
  pageSize: '--page-size',
  poolPages: '--pool-pages',
  cacheTokens: '--cache-tokens',
  scale: '--kv-scale',
  amax: '--kv-scales',
  zero: '--kv-zero',
  keys: '--kv-keys',
  group: '--kv-group',
  residual: '--kv-residual',
  scaleDtype: '--kv-scale-dtype',
};

/** Sizes that have no default. */
const REQUIRED = new Set(['window', 'chunk', 'sinks']);

/** The rule that the flags describe. */
export function visibilityOf({
  visibility: kind,
  window,
  attentionChunk: chunk,
  sinks,
}: AttentionFlags): VisibilityConfig | 'auto' {
  const sizes = { window, chunk, sinks };
  const needed = kind === 'auto' ? [] : VISIBILITIES[kind][0];
  const uses = (size: string) => names(VISIBILITIES).filter((name) => sizesOf(name as VisibilityName).includes(size));
  expectSizes(`--visibility ${kind}`, needed, sizes, uses);
  return kind === 'auto' ? 'auto' : ({ kind, ...given(sizes) } as VisibilityConfig);
}

function sizesOf(kind: VisibilityName): readonly string[] {
  return VISIBILITIES[kind][0];
}

/** The sizes of caches that were given. */
export function cacheSizesOf({ cache, pageSize, poolPages, cacheTokens }: CacheFlags): Partial<CacheSizes> {
  const sizes = { pageSize, poolPages, cacheTokens };
  const uses = (size: string) =>
    names(CACHES).filter((name) => (CACHE_SIZES[name as CacheName] as readonly string[]).includes(size));
  expectSizes(`--cache ${cache}`, CACHE_SIZES[cache], sizes, uses);
  return given(sizes);
}

/** The form of rows that was asked for. @throws UsageError for a flag that does not go with the dtype */
export function kvConfigOf(flags: CacheFlags, measured: KvAmax | undefined): KvConfig | 'auto' {
  const {
    kvDtype: dtype,
    kvScale: scale,
    kvScales: file,
    kvZero: zero,
    kvKeys: keys,
    kvGroup: group,
    kvResidual: residual,
  } = flags;
  const members = { scale, amax: file, zero, keys, group, residual, scaleDtype: flags.kvScaleDtype };
  const uses = (member: string) => KV_DTYPES.filter((name) => (membersOf(name) as readonly string[]).includes(member));
  expectSizes(`--kv-dtype ${dtype}`, dtype === 'auto' ? [] : membersOf(dtype), members, uses);
  if (dtype === 'auto') return dtype;
  const scaled = scale === 'tensor' || scale === 'head';
  if (scaled && file === undefined) {
    throw new UsageError(`--kv-scale ${scale}: needs --kv-scales FILE, which touchstone calibrate writes.`);
  }
  if (!scaled && file !== undefined)
    throw new UsageError('--kv-scales: goes with --kv-scale tensor or head; give one.');
  return { ...given(members), dtype, amax: measured };
}

/** Without what is undefined. */
function given<Value>(sizes: Readonly<Record<string, Value | undefined>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(sizes).filter(([, value]) => value !== undefined)) as Record<string, Value>;
}
