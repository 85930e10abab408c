/** The choices a run makes, by name -> the parts that each layer's attention is made of. */

import type { CacheOptions, KvCache } from '../../attention/cache/cache.js';
import { type KvConfig, type KvDtype, type KvFormat, kvFormat } from '../../attention/cache/codec/format.js';
import { CACHES, type CacheName, type CacheSizes, type CacheSource } from '../../attention/cache/index.js';
import { type LayerPlan, plansOf } from '../../attention/cache/layer-plan.js';
import { DEVICE_CHOICES, type DeviceChoice } from '../../attention/kernel/gpu/devices.js';
import { KERNELS, type KernelName, kernelOn } from '../../attention/kernel/index.js';
import type { AttentionKernel } from '../../attention/kernel/kernel.js';
import type { AttentionLayer } from '../../attention/layer.js';
import { POSITION_POLICIES, type PositionPolicy, SlotRotations } from '../../attention/slots.js';
import { STRATEGIES, type StrategyName } from '../../attention/strategy/index.js';
import type { AttentionConfig } from '../../attention/strategy/strategy.js';
import type { LayerSchema } from '../../attention/streams.js';
import { type VisibilityConfig, visibilityOf } from '../../attention/visibility/index.js';
import { UsageError } from '../errors.js';
import type { Rope } from '../math/rope.js';
import { isEmulated, PRECISIONS, type Precision } from '../tensor/tensor.js';
import type { ModelConfig } from './config.js';
import type { ModelWeights } from './weights.js';

/** What a user may ask for. `auto` attends in the grouped or the absorbed form, sees what the config says, and stores what is computed. */
export interface RunOptions extends CacheSizes {
  readonly attention: StrategyName | 'auto';
  /** For all layers; `auto`: each layer's own. */
  readonly visibility: VisibilityConfig | 'auto';
  readonly positions: PositionPolicy;
  readonly cache: CacheName;
  /** The form in which the cache keeps rows; a dtype, or all that goes with it. `auto`: the precision. */
  readonly kvDtype: KvDtype | KvConfig | 'auto';
  readonly kernel: KernelName;
  /** What the kernel gpu runs on. `auto`: a GPU if there is one, else the processor. */
  readonly device: DeviceChoice;
  /** `bfloat16`, `float16`: float32, and rounded where PyTorch rounds when it runs in that dtype (src/tensor/emulated.ts). */
  readonly precision: Precision;
}

/** Without what depends on the model: a preallocated cache holds its context. */
export const DEFAULT_OPTIONS: Omit<RunOptions, 'cacheTokens'> = {
  attention: 'auto',
  visibility: 'auto',
  positions: 'absolute',
  cache: 'contiguous',
  pageSize: 16,
  poolPages: Number.POSITIVE_INFINITY,
  kvDtype: 'auto',
  kernel: 'reference',
  device: 'auto',
  precision: 'float32',
};

/** What was chosen, by the names of the parts: no `auto` is left (but a device's, before it is opened). */
export type Chosen = Readonly<
  Record<'attention' | 'visibility' | 'positions' | 'cache' | 'kvDtype' | 'kernel' | 'precision', string>
>;

export interface Components {
  readonly layers: readonly AttentionLayer[];
  /** That of all layers. */
  readonly kernel: AttentionKernel;
  /** What caches are made for. */
  readonly stores: CacheOptions;
  /** What a cache stores of each layer: those of `stores`. */
  readonly schemas: readonly LayerSchema[];
  readonly format: KvFormat;
  /** How each layer's rows are stored, and where the format has a residual, how they are kept before that. */
  readonly plans: { readonly stored: readonly LayerPlan[]; readonly exact: readonly LayerPlan[] | null };
  /** Where caches come from, and what they share. */
  readonly caches: CacheSource;
  /** An empty cache for one sequence. */
  newCache(): KvCache;
  readonly chosen: Chosen;
}

/** @throws UsageError, saying why, for choices that have no meaning together or for this model. */
export function componentsOf(config: ModelConfig, weights: ModelWeights, options: RunOptions): Components {
  const { precision } = options;
  expectOneOf(PRECISIONS, 'precision', precision);
  expectOneOf(POSITION_POLICIES, 'positions', options.positions);
  const kernel = kernelFor(options);
  const layers = layersOf(config, weights, options, kernel);
  const schemas = layers.map(({ strategy, visibility }) => ({ streams: strategy.streams, retention: visibility }));
  const stores = { layers: schemas, precision, dtype: options.kvDtype === 'auto' ? precision : options.kvDtype };
  const format = kvFormat(stores.dtype);
  const caches = chosenFrom(CACHES, 'cache', options.cache)(stores, options);
  const distinct = (names: readonly string[]) => [...new Set(names)].join(', ');
  return {
    layers,
    kernel,
    stores,
    schemas,
    format,
    plans: { stored: plansOf(stores), exact: format.residual > 0 ? plansOf({ ...stores, dtype: precision }) : null },
    caches,
    newCache: () => caches.newCache(),
    chosen: {
      attention: distinct(layers.map(({ strategy }) => strategy.name)),
      visibility: distinct(layers.map(({ visibility }) => visibility.name)),
      positions: options.positions,
      cache: options.cache,
      kvDtype: format.name,
      get kernel() {
        return kernel.name; // with its device, once there is one
      },
      precision,
    },
  };
}

/** @throws UsageError for a device that would not be used, and for a precision that the kernel does not compute in */
function kernelFor({ kernel: name, device, precision }: RunOptions): AttentionKernel {
  chosenFrom(KERNELS, 'kernel', name);
  expectOneOf(DEVICE_CHOICES, 'device', device);
  if (device !== 'auto' && name !== 'gpu') {
    throw new UsageError(`device (--device ${device}): goes with the kernel gpu (--kernel gpu), got ${name}.`);
  }
  const kernel = kernelOn(name, device);
  const { precisions } = kernel;
  if (precisions === undefined || precisions.includes(precision)) return kernel;
  const others = Object.values<AttentionKernel>(KERNELS).filter(
    (other) => other.precisions?.includes(precision) ?? true,
  );
  throw new UsageError(
    `Kernel ${name} computes in ${precisions.join(' and ')}; for precision ${precision} choose the kernel ${others.map((other) => other.name).join(' or ')}.`,
  );
}

function layersOf(
  config: ModelConfig,
  weights: ModelWeights,
  options: RunOptions,
  kernel: AttentionKernel,
): AttentionLayer[] {
  const slotsOf = slotRotations(options.positions, options.precision);
  return config.layers.map((layer, index) => {
    const attention = options.attention === 'auto' ? formOf(layer.attention, options.precision) : options.attention;
    return {
      index,
      strategy: chosenFrom(STRATEGIES, 'attention', attention)(layer.attention, weights.layers[index]!.attention),
      visibility: visibilityOf(options.visibility === 'auto' ? layer.visibility : options.visibility),
      kernel,
      slots: slotsOf(layer.attention),
    };
  });
}

/** @throws UsageError for a name that a table does not have: types do not reach every caller */
function chosenFrom<Table extends object, Name extends keyof Table>(
  table: Table,
  what: string,
  name: Name,
): Table[Name] {
  expectOneOf(Object.keys(table), what, name);
  return table[name];
}

function expectOneOf(names: readonly unknown[], what: string, name: unknown): void {
  if (names.includes(name)) return;
  throw new UsageError(`${what}: expected one of ${names.join(', ')}, got ${JSON.stringify(name)}.`);
}

/** The strategy that `auto` stands for. PyTorch's code of latent attention expands keys and values, and an emulated precision rounds them where it does. */
export function formOf({ kind }: AttentionConfig, precision: Precision): StrategyName {
  if (kind === 'grouped') return 'gqa';
  return isEmulated(precision) ? 'mla-naive' : 'mla';
}

/** Rotations by slot for the layers that are rotated so, one table for all that share a rope. */
function slotRotations(
  positions: PositionPolicy,
  precision: Precision,
): (attention: AttentionConfig) => SlotRotations | null {
  const made = new Map<Rope, SlotRotations>();
  return (attention) => {
    if (positions === 'absolute') return null;
    const refusal = slotRefusal(attention);
    if (refusal) throw new UsageError(refusal);
    const rope = attention.rope!;
    if (!made.has(rope)) made.set(rope, new SlotRotations(rope, precision));
    return made.get(rope)!;
  };
}

/** Why rows of this attention cannot be rotated by slot; null: they can. */
export function slotRefusal(attention: AttentionConfig): string | null {
  const { rope } = attention;
  if (!rope) {
    return 'Positions in-cache: this model has layers without rope, whose keys carry no position that could be changed; choose absolute.';
  }
  if (commutes(attention, rope)) return null;
  return 'Positions in-cache: this model norms queries and keys after rope, and its rope changes what the norm sees; choose absolute.';
}

/** Keys are stored before rope, so a norm that stands after it must see the same there: one over whole heads without weights, of pairs that keep their length. */
function commutes(attention: AttentionConfig, rope: Rope): boolean {
  if (attention.kind !== 'grouped' || attention.qkNorm?.place !== 'after-rope') return true;
  const { norm, scope } = attention.qkNorm;
  const turnsAlone = norm.kind === 'rms' && !norm.weight && !norm.bias && scope !== 'heads-together';
  return turnsAlone && rope.magnitude === 1;
}
