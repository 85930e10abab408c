/** Every strategy x visibility x positions x cache x kernel, for the conformance suite and for `npm run report:lattice`. */
import { type KvConfig, kvFormat } from '../../attention/cache/codec/format.js';
import { CACHES, type CacheName } from '../../attention/cache/index.js';
import type { DeviceChoice } from '../../attention/kernel/gpu/devices.js';
import { KERNELS, type KernelName } from '../../attention/kernel/index.js';
import { POSITION_POLICIES, type PositionPolicy } from '../../attention/slots.js';
import { STRATEGIES, type StrategyName } from '../../attention/strategy/index.js';
import { VISIBILITIES, type VisibilityConfig } from '../../attention/visibility/index.js';
import { UsageError } from '../../src/errors.js';
import { feed } from '../../src/generate/generate.js';
import { DEFAULT_OPTIONS } from '../../src/model/components.js';
import type { ModelConfig } from '../../src/model/config.js';
import { assemble, type Model } from '../../src/model/load.js';
import { type RunChoice, relationOf } from '../../src/reference/lattice.js';
import { type Floats, flat } from '../../src/tensor/tensor.js';

const names = <Name extends string>(table: Record<Name, unknown>) => Object.keys(table) as Name[];

export const STRATEGY_NAMES: readonly StrategyName[] = names(STRATEGIES);
export const CACHE_NAMES: readonly CacheName[] = names(CACHES);
/** Those of a device have a suite of their own. */
export const KERNEL_NAMES: readonly KernelName[] = names(KERNELS).filter((name) => name !== 'gpu');

export interface Rule {
  readonly visibility: VisibilityConfig | 'auto';
  readonly positions: PositionPolicy;
}

/** Every rule, one of them longer than the sequence, with both ways of rotating. @param window tokens; the sinks are a quarter of it */
export function rules(window: number, length: number): Rule[] {
  const sizes = { window, chunk: window, sinks: window / 4 };
  const kinds = names(VISIBILITIES).map((kind) => ({ kind, ...sizes }) as VisibilityConfig);
  const all: Rule['visibility'][] = ['auto', ...kinds, { kind: 'sliding', window: length }];
  return all.flatMap((visibility) => POSITION_POLICIES.map((positions) => ({ visibility, positions })));
}

/** Every kind of form that rows are kept in. Groups and residuals are small, so that a short text crosses them. */
export const FORMS = (
  [
    { dtype: 'float16' },
    { dtype: 'bfloat16' },
    { dtype: 'fp8_e4m3' },
    { dtype: 'fp8_e5m2', scale: 'tensor' },
    { dtype: 'fp8_e4m3', scale: 'head' },
    { dtype: 'int8' },
    { dtype: 'int8', zero: 'affine', residual: 10 },
    { dtype: 'int8', keys: 'channel', group: 5, residual: 5, scaleDtype: 'float32' },
    { dtype: 'int4', group: 7 },
    { dtype: 'int4', zero: 'affine', scaleDtype: 'float32' },
    { dtype: 'int4', zero: 'affine', keys: 'channel', group: 4, residual: 12 },
  ] satisfies KvConfig[]
).map((config: KvConfig) => ({ config, named: nameOf(config) }));

function nameOf(config: KvConfig): string {
  const amax = config.scale && config.scale !== 'one' ? [] : undefined;
  return kvFormat({ ...config, amax }).name;
}

/** The textbook's choices for a rule: what all others are held against. */
export function textbook({ visibility, positions }: Rule): RunChoice {
  return { attention: 'auto', visibility, positions, cache: 'contiguous', kvDtype: 'auto', kernel: 'reference' };
}

/** A model with other parts, its weights read once. Pages are small, and prefilled pages are found again. */
export function withChoice(model: Model, choice: Partial<RunChoice>, device: DeviceChoice = 'auto'): Model {
  const { kvDtype = 'auto' } = choice;
  const { alignment } = kvFormat(kvDtype === 'auto' ? 'float32' : kvDtype);
  const pageSize = alignment === 1 ? 5 : 2 * alignment;
  const options = { ...DEFAULT_OPTIONS, ...model.options, ...choice, device, pageSize };
  return assemble(model.config, model.weights, options, model.files);
}

/** The logits of all tokens [T x N], fed in chunks. */
export async function logitsOf(model: Model, ids: readonly number[], chunk: number): Promise<Floats> {
  return flat(await feed(model, ids, model.components.newCache(), { from: 0, chunk, logits: 'all' }));
}

/** Why a model cannot be made of a choice; null if it can. */
export function refusalOf(model: Model, choice: RunChoice): string | null {
  try {
    withChoice(model, choice);
    return null;
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
}

/** A model with every strategy and cache that gives the same bits; where no layer has a window, a ring gets one longer than any text. */
export function exactOnes(model: Model): Model[] {
  const windows = model.config.layers.some(({ visibility }) => visibility.kind !== 'causal');
  const plain = textbook({ visibility: 'auto', positions: 'absolute' });
  return STRATEGY_NAMES.flatMap((attention) =>
    CACHE_NAMES.map((cache): RunChoice => {
      const visibility = cache === 'ring' && !windows ? ({ kind: 'sliding', window: 1000 } as const) : 'auto';
      return { ...plain, attention, visibility, cache };
    }),
  )
    .filter((choice) => refusalOf(model, choice) === null)
    .filter((choice) => relationOf(choice, plain, model.config, 100).kind === 'exact')
    .map((choice) => withChoice(model, choice));
}

/** What must be refused, said here once more so that a refusal too many is seen. */
export function mustBeRefused({ layers }: ModelConfig, { attention, visibility, cache }: RunChoice): boolean {
  const shape = layers[0]!.attention;
  const latent = attention === 'mla' || attention === 'mla-naive';
  if (attention !== 'auto' && latent !== (shape.kind === 'latent')) return true;
  if (attention === 'mqa' && shape.kind === 'grouped' && shape.keyValueHeads !== 1) return true;
  const kinds = visibility === 'auto' ? layers.map((layer) => layer.visibility.kind) : [visibility.kind];
  return cache === 'ring' && kinds.every((kind) => kind === 'causal');
}

/** Largest difference, in unit roundoffs of float32 of the largest |logit|. */
export function distance(found: Floats, expected: Floats): number {
  let [error, largest] = [0, 0];
  for (const [i, value] of expected.entries()) {
    error = Math.max(error, Math.abs(found[i]! - value));
    largest = Math.max(largest, Math.abs(value));
  }
  return error / largest / 2 ** -24;
}
