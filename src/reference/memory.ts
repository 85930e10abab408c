/**
 * What a key/value cache costs: bytes a token, for a context, for a batch, and the batch that fits beside the weights, for every strategy
 * and every dtype of the cache. `ideal` is what has to be there; the rest is what caches really allocate for it.
 */
import { BYTES } from '../../attention/cache/codec/codec.js';
import { type KvConfig, kvFormat, membersOf } from '../../attention/cache/codec/format.js';
import { layoutOf, tokenBytes } from '../../attention/cache/codec/layout.js';
import { idealLayers, plannedLayers } from '../../attention/cache/plan.js';
import type { StrategyName } from '../../attention/strategy/index.js';
import { expectSize, UsageError } from '../errors.js';
import { type LayerKind, type MemoryShape, type StoredForm, storedForms } from './memory-shape.js';

/** Forms of the cache side by side; integers in groups of `kvGroup`. bfloat16 is what the others are compared with. */
export const MEMORY_FORMATS: Readonly<Record<string, KvConfig>> = {
  float32: { dtype: 'float32' },
  float16: { dtype: 'float16' },
  bfloat16: { dtype: 'bfloat16' },
  fp8_e4m3: { dtype: 'fp8_e4m3' },
  fp8_e5m2: { dtype: 'fp8_e5m2' },
  int8: { dtype: 'int8' },
  'int8 affine': { dtype: 'int8', zero: 'affine' },
  int4: { dtype: 'int4' },
  'int4 affine': { dtype: 'int4', zero: 'affine' },
  'int4 affine by channel': { dtype: 'int4', zero: 'affine', keys: 'channel' },
};

const BASELINE: KvConfig = { dtype: 'bfloat16' };

/** Caches whose allocation is shown. A ring has a meaning where some layer has a window. */
const ALLOCATIONS = ['contiguous', 'paged', 'preallocated', 'ring'] as const;

export type Allocation = (typeof ALLOCATIONS)[number];

/** Bytes by what they are counted for; null where the cache is refused. */
export type MemoryFigures = Readonly<Record<'ideal' | Allocation, number | null>>;

export interface MemoryOptions {
  /** Tokens of each sequence; by default what the model was made for. */
  readonly context?: number | undefined;
  /** Sequences at once, 1 by default. */
  readonly batch?: number | undefined;
  /** Bytes for weights and caches together; without it nothing is said of the largest batch. */
  readonly memory?: number | undefined;
  /** Bytes of the weights; by default what the shape says. */
  readonly weights?: number | undefined;
  /** Tokens a page, 16 by default. */
  readonly pageSize?: number | undefined;
  /** Values that share a scale in integer forms, 32 by default. */
  readonly kvGroup?: number | undefined;
  /** Tokens that a preallocated cache holds: the model's context by default, or the one asked for if that is longer. */
  readonly maxContext?: number | undefined;
}

/** Options with nothing left out but what is not known. */
export interface MemoryAsked {
  readonly context: number;
  readonly batch: number;
  readonly memory: number | null;
  readonly weights: number | null;
  readonly pageSize: number;
  readonly kvGroup: number;
  readonly maxContext: number;
}

export interface MemoryRow {
  readonly strategy: StrategyName;
  /** The model's own strategy. */
  readonly own: boolean;
  /** A name of MEMORY_FORMATS. */
  readonly kvDtype: string;
  /** The same with all that goes with it. */
  readonly format: string;
  /** Of all layers; a layer with a window stores a token too, and forgets it later. */
  readonly bytesPerToken: {
    readonly values: number;
    /** With scales and minima. Not whole where rows share scales. */
    readonly stored: number;
  };
  /** Both as parts of the bytes at 16 bit. */
  readonly ratio: { readonly values: number; readonly stored: number };
  /** Bytes of one sequence of the context, fed token by token. */
  readonly sequence: MemoryFigures;
  /** Bytes of the batch. */
  readonly batch: MemoryFigures;
  /** The most sequences of the context that fit beside the weights; null without a memory. */
  readonly largestBatch: MemoryFigures | null;
  /** Tokens that are kept in float32 before they are quantised, at most; 0: none. */
  readonly residual: number;
  /** Why a figure is null. */
  readonly refused: Readonly<Partial<Record<Allocation, string>>>;
}

export interface MemoryReport {
  readonly model: string;
  readonly asked: MemoryAsked;
  /** The strategies by what they store, most first; each in every form. */
  readonly rows: readonly MemoryRow[];
}

/** @throws UsageError for sizes that are none, and where the weights leave no memory */
export function memoryReport(shape: MemoryShape, options: MemoryOptions = {}): MemoryReport {
  const asked = askedOf(shape, options);
  const forms = storedForms(shape).sort((one, other) => storedAt(other, BASELINE) - storedAt(one, BASELINE));
  const rows = forms.flatMap((form) => Object.keys(MEMORY_FORMATS).map((name) => rowOf(form, name, asked)));
  expectExact(rows);
  return { model: shape.name, asked, rows };
}

function askedOf(
  shape: MemoryShape,
  { batch = 1, pageSize = 16, kvGroup = 32, memory = undefined, ...given }: MemoryOptions,
): MemoryAsked {
  const context = given.context ?? shape.context;
  if (context === null) {
    throw new UsageError(
      'A shape given by sizes has no context of its own; give the tokens of a sequence (--context).',
    );
  }
  const maxContext = given.maxContext ?? Math.max(shape.context ?? context, context);
  expectSize('context (--context)', context);
  expectSize('batch (--batch)', batch);
  expectSize('pageSize (--page-size)', pageSize);
  expectSize('kvGroup (--kv-group)', kvGroup);
  expectSize('maxContext (--max-context)', maxContext);
  if (maxContext < context) {
    throw new UsageError(
      `maxContext (--max-context): a cache preallocated for ${maxContext} tokens cannot hold the context of ${context}; give at least ${context}.`,
    );
  }
  const weights = given.weights ?? shape.weights;
  if (memory !== undefined) expectSize('memory (--memory)', memory);
  if (given.weights) expectSize('weights (--weights)', given.weights);
  if (memory !== undefined) expectWeightsFit(memory, weights, shape.name);
  return { context, batch, memory: memory ?? null, weights, pageSize, kvGroup, maxContext };
}

function expectWeightsFit(memory: number, weights: number | null, name: string): void {
  if (weights === null) {
    throw new UsageError(
      `memory (--memory): the bytes of the weights of ${name} are not known; give them (--weights BYTES, or 0).`,
    );
  }
  if (weights <= memory) return;
  throw new UsageError(
    `memory (--memory): the weights of ${name} take ${weights} bytes, and the memory has ${memory}; give more memory, or the bytes of ` +
      'smaller weights (--weights).',
  );
}

function rowOf(form: StoredForm, kvDtype: string, asked: MemoryAsked): MemoryRow {
  const dtype = grouped(MEMORY_FORMATS[kvDtype]!, asked.kvGroup);
  const { name, residual } = kvFormat(dtype);
  const values = total(form.kinds, (kind) => valueBytes(dtype, kind));
  const stored = storedAt(form, dtype);
  const baseline = storedAt(form, BASELINE);
  const { sequence, refused } = sequenceOf(form.kinds, dtype, asked);
  const { batch, memory, weights } = asked;
  const free = memory === null ? null : memory - weights!;
  return {
    strategy: form.strategy,
    own: form.own,
    kvDtype,
    format: name,
    bytesPerToken: { values, stored },
    ratio: { values: values / baseline, stored: stored / baseline },
    sequence,
    batch: mapped(sequence, (bytes) => bytes * batch),
    largestBatch: free === null ? null : mapped(sequence, (bytes) => Math.floor(free / bytes)),
    residual,
    refused,
  };
}

function grouped(config: KvConfig, group: number): KvConfig {
  return membersOf(config.dtype).includes('group') ? { ...config, group } : config;
}

/** Bytes that the model as it is stores for a token at 16 bit. */
export function bytesAt16Bit(shape: MemoryShape): number {
  return storedAt(storedForms(shape).find(({ own }) => own)!, BASELINE);
}

/** Bytes that all layers store for a token. */
function storedAt({ kinds }: StoredForm, dtype: KvConfig): number {
  return total(kinds, (kind) => tokenBytes(layoutOf(dtype, kind, 0)));
}

/** Without scales and minima. */
function valueBytes(dtype: KvConfig, kind: LayerKind): number {
  const parts = layoutOf(dtype, kind, 0).streams.flatMap(({ codec }) => codec.parts);
  const values = parts.filter((part) => part.name === 'values');
  return values.reduce((sum, part) => sum + part.length * BYTES[part.dtype], 0);
}

/** Over all layers, of which those of a kind are alike. */
function total(kinds: readonly LayerKind[], of: (kind: LayerKind, i: number) => number): number {
  return kinds.reduce((sum, kind, i) => sum + kind.count * of(kind, i), 0);
}

/** One sequence, fed token by token: what must be there, and what each cache allocates, or why it is refused. */
function sequenceOf(kinds: readonly LayerKind[], dtype: KvConfig, { context, pageSize, maxContext }: MemoryAsked) {
  const options = { layers: kinds, precision: 'float32', dtype } as const;
  const sizes = { cacheTokens: maxContext, pageSize, poolPages: Number.POSITIVE_INFINITY };
  const refused: Partial<Record<Allocation, string>> = {};
  const allocated = ALLOCATIONS.map((cache) => {
    try {
      const planned = plannedLayers(cache, options, sizes, { tokens: context });
      return [cache, total(kinds, (_, i) => planned[i]!.allocated)] as const;
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      refused[cache] = error.message;
      return [cache, null] as const;
    }
  });
  const ideal = idealLayers(options, context);
  const sequence = { ideal: total(kinds, (_, i) => ideal[i]!), ...Object.fromEntries(allocated) } as Record<
    keyof MemoryFigures,
    number | null
  >;
  return { sequence, refused };
}

function mapped(figures: MemoryFigures, change: (bytes: number) => number): MemoryFigures {
  const each = Object.entries(figures).map(([of, bytes]) => [of, bytes === null ? null : change(bytes)]);
  return Object.fromEntries(each) as MemoryFigures;
}

/** @throws UsageError if a figure is too large to be exact */
function expectExact(rows: readonly MemoryRow[]): void {
  const most = Math.max(...rows.flatMap(({ batch }) => Object.values(batch).map((bytes) => bytes ?? 0)));
  if (Number.isSafeInteger(most)) return;
  throw new UsageError(
    `The caches would take ${most} bytes, which is beyond what can be counted exactly (2^53); ask for less.`,
  );
}
