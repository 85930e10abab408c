/** A model's shape: a preset, a checkpoint folder, or flags. */
import { existsSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Command } from 'commander';
import type { VisibilityConfig } from '../attention/visibility/index.js';
import { embeddedModel } from '../src/embedded.js';
import { UsageError } from '../src/errors.js';
import { type AttentionShape, type MemoryShape, shapeOfFolder } from '../src/reference/memory-shape.js';
import { presetOf, presetsNear } from '../src/reference/presets.js';
import { folderOf } from './model-folder.js';
import { wholeNumber } from './options.js';

/** Flags that describe a shape. */
export interface ShapeFlags {
  readonly layers?: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly headDim?: number;
  readonly width?: number;
  readonly latentRank?: number;
  readonly ropeDim?: number;
  readonly nopeDim?: number;
  readonly valueDim?: number;
  readonly window?: number;
  readonly fullLayers?: number;
}

const FLAGS: Readonly<Record<keyof ShapeFlags, string>> = {
  layers: '--layers',
  heads: '--heads',
  kvHeads: '--kv-heads',
  headDim: '--head-dim',
  width: '--width',
  latentRank: '--latent-rank',
  ropeDim: '--rope-dim',
  nopeDim: '--nope-dim',
  valueDim: '--value-dim',
  window: '--window',
  fullLayers: '--full-layers',
};

export function shapeOptions(command: Command): Command {
  const size = wholeNumber(1);
  return command
    .option('--layers <n>', 'a shape by flags: layers', size)
    .option('--heads <n>', 'query heads', size)
    .option('--kv-heads <n>', 'key/value heads (default: as many as query heads)', size)
    .option('--head-dim <n>', 'values of a head', size)
    .option('--width <n>', 'model width, of which each query head has its part: in place of --head-dim', size)
    .option('--latent-rank <n>', "latent attention: the latent's rank", size)
    .option('--rope-dim <n>', 'latent attention: values of the rope key', size)
    .option('--nope-dim <n>', "latent attention, for mla-naive: values of a head's key without rope", size)
    .option('--value-dim <n>', "latent attention, for mla-naive: values of a head's value", size)
    .option('--window <tokens>', 'tokens that a query sees, itself counted', size)
    .option('--full-layers <n>', 'layers that see everything beside those with a window (default: 0)', wholeNumber(0));
}

/** @throws UsageError where a model and a shape are mixed, and for a name that is neither a preset nor a folder */
export async function shapeOf(
  model: string | undefined,
  flags: ShapeFlags,
  ignored: readonly string[],
): Promise<MemoryShape> {
  const given = (Object.keys(FLAGS) as (keyof ShapeFlags)[]).filter((flag) => flags[flag] !== undefined);
  if (given.length > 0) {
    if (model === undefined) return shapeOfFlags(flags);
    throw new UsageError(
      `${FLAGS[given[0]!]}: ${model} has a shape of its own; give a model, or a shape by flags, not both.`,
    );
  }
  if (model === undefined) return { ...shapeOfFolder(embeddedModel(), ignored), name: basename(embeddedModel()) };
  const preset = presetOf(model);
  if (preset) return preset;
  if (!/[\\/]/.test(model) && !(existsSync(model) && statSync(model).isDirectory())) {
    const near = presetsNear(model);
    throw new UsageError(
      `${model} is neither a preset, a checkpoint folder, nor owner/name of the hub; ` +
        `${near.length > 0 ? `presets written nearly like it are ${near.join(', ')}, and ` : ''}--list prints all.`,
    );
  }
  return { ...shapeOfFolder(await folderOf(model, 'config'), ignored), name: model };
}

/** Far beyond any model, so that a slip is refused before figures are made of it. */
const MOST_LAYERS = 2 ** 14;
const MOST_VALUES = 2 ** 20;

function shapeOfFlags(flags: ShapeFlags): MemoryShape {
  const count = needed(flags, 'layers', 'a shape needs the number of layers');
  if (count > MOST_LAYERS) throw new UsageError(`--layers: expected at most ${MOST_LAYERS}, got ${count}.`);
  const attention = flags.latentRank === undefined && flags.ropeDim === undefined ? groupedOf(flags) : latentOf(flags);
  const full = fullLayersOf(flags, count);
  const layers = Array.from({ length: count }, (_, i) => {
    const visibility: VisibilityConfig =
      flags.window === undefined || i < full ? { kind: 'causal' } : { kind: 'sliding', window: flags.window };
    return { attention, visibility };
  });
  return { name: 'the given shape', layers, context: null, weights: null };
}

/** The value of a flag. @throws UsageError that says what it is needed for */
function needed(flags: ShapeFlags, flag: keyof ShapeFlags, why: string): number {
  const value = flags[flag];
  if (value === undefined) throw new UsageError(`${FLAGS[flag]} is missing: ${why}.`);
  return value;
}

/** @throws UsageError for flags that would be ignored */
function expectUnused(flags: ShapeFlags, unused: readonly (keyof ShapeFlags)[], why: string): void {
  const found = unused.find((flag) => flags[flag] !== undefined);
  if (found) throw new UsageError(`${FLAGS[found]}: ${why}.`);
}

function groupedOf(flags: ShapeFlags): AttentionShape {
  expectUnused(flags, ['nopeDim', 'valueDim'], 'goes with latent attention (--latent-rank, --rope-dim)');
  const { heads } = flags;
  const keyValueHeads = flags.kvHeads ?? needed(flags, 'heads', 'a shape needs heads (--heads, --kv-heads or both)');
  if (heads !== undefined && heads % keyValueHeads !== 0) {
    throw new UsageError(
      `--kv-heads: expected a number that divides the ${heads} query heads (--heads), got ${keyValueHeads}.`,
    );
  }
  const headDim = headDimOf(flags);
  expectFew(Math.max(heads ?? 0, keyValueHeads) * headDim);
  return { kind: 'grouped', keyValueHeads, headDim, ...(heads === undefined ? {} : { queryHeads: heads }) };
}

function headDimOf(flags: ShapeFlags): number {
  const { width, headDim } = flags;
  if (width === undefined)
    return needed(flags, 'headDim', 'a shape needs the values of a head (or --width and --heads)');
  if (headDim !== undefined)
    throw new UsageError('--width: --head-dim says how many values a head has already; give one of them.');
  const heads = needed(flags, 'heads', '--width is divided by the number of query heads');
  if (width % heads !== 0) {
    throw new UsageError(
      `--width: expected a multiple of the ${heads} query heads (--heads), got ${width}; or give --head-dim.`,
    );
  }
  return width / heads;
}

function latentOf(flags: ShapeFlags): AttentionShape {
  expectUnused(
    flags,
    ['kvHeads', 'headDim', 'width'],
    'goes with key/value heads, and --latent-rank or --rope-dim says that there is a latent',
  );
  const latentRank = needed(flags, 'latentRank', '--rope-dim goes with it');
  const ropeDim = needed(flags, 'ropeDim', 'beside its latent a token has a key that rope rotates');
  const { heads: queryHeads, nopeDim, valueDim } = flags;
  expectFew(Math.max(latentRank, ropeDim, (queryHeads ?? 0) * Math.max((nopeDim ?? 0) + ropeDim, valueDim ?? 0)));
  if (queryHeads === undefined && nopeDim === undefined && valueDim === undefined)
    return { kind: 'latent', latentRank, ropeDim };
  const why = 'the expanded form (mla-naive) needs --heads, --nope-dim and --value-dim together';
  return {
    kind: 'latent',
    latentRank,
    ropeDim,
    queryHeads: needed(flags, 'heads', why),
    nopeDim: needed(flags, 'nopeDim', why),
    valueDim: needed(flags, 'valueDim', why),
  };
}

function expectFew(values: number): void {
  if (values <= MOST_VALUES) return;
  throw new UsageError(
    `The heads have ${values} values together, and a stream has at most ${MOST_VALUES}; give smaller heads.`,
  );
}

function fullLayersOf(flags: ShapeFlags, layers: number): number {
  const { window, fullLayers = 0 } = flags;
  if (window === undefined) expectUnused(flags, ['fullLayers'], 'without --window every layer sees everything');
  if (fullLayers <= layers) return fullLayers;
  throw new UsageError(`--full-layers: expected at most the ${layers} layers (--layers), got ${fullLayers}.`);
}
