/**
 * What the cache of one sequence will take, by arithmetic alone: nothing is allocated, so the sizes may be those of any model. The rules of growth
 * are the caches' own, and the tests hold the sums against the bytes that running caches report.
 */
import { RequestError } from '../../src/errors.js';
import type { Retention } from '../streams.js';
import { type CacheBytes, type CacheOptions, sumOfBytes } from './cache.js';
import { BYTES } from './codec/codec.js';
import { kvFormat } from './codec/format.js';
import { bytesOf, type RowLayout } from './codec/layout.js';
import { CONTIGUOUS_GROWTH, expectPreallocated } from './contiguous.js';
import { grownBy, type Passes } from './growth.js';
import { CACHES, type CacheName, type CacheSizes } from './index.js';
import { type LayerPlan, plansOf } from './layer-plan.js';
import { wholeBlocks } from './residual.js';
import { freshAfter, ringSize } from './ring.js';
import { boundedGrowth } from './rows.js';

/** How a sequence comes to its length: a prompt in one pass, then token by token. */
export interface Fed {
  /** All of them, the prompt's included. */
  readonly tokens: number;
  /** 0 by default: every token came by itself. */
  readonly prompt?: number;
}

/**
 * What the cache of that name holds after a sequence was fed.
 * @throws UsageError where the cache has no meaning for the layers or the form of their rows @throws RequestError if the tokens do not fit
 */
export function plannedBytes(cache: CacheName, options: CacheOptions, sizes: CacheSizes, fed: Fed): CacheBytes {
  return sumOfBytes(plannedLayers(cache, options, sizes, fed));
}

/** The same, for each layer. */
export function plannedLayers(cache: CacheName, options: CacheOptions, sizes: CacheSizes, fed: Fed): CacheBytes[] {
  CACHES[cache](options, sizes); // refuses what would be refused; it allocates when a cache is made
  const { tokens, prompt = 0 } = fed;
  const { residual } = kvFormat(options.dtype);
  const passes = { first: prompt, step: 1, total: tokens };
  const rows = residual === 0 ? passes : handedOver(passes, residual);
  expectRoom(cache, sizes, tokens, rows.total);
  const whole = residual === 0 ? sizes : { ...sizes, cacheTokens: wholeBlocks(sizes.cacheTokens - 1, residual) };
  const stored = plansOf(options).map((plan) => storedBytes(cache, plan, whole, rows));
  if (residual === 0 || cache === 'none') return stored;
  const initial = cache === 'preallocated' ? Math.min(residual, sizes.cacheTokens) : 0;
  const slots = grownBy(passes, boundedGrowth(residual, 1), initial);
  return plansOf({ ...options, dtype: options.precision }).map(({ layout }, layer) => {
    const newest = { used: bytesOf(layout, tokens - rows.total), allocated: bytesOf(layout, slots) };
    return sumOfBytes([stored[layer]!, newest]);
  });
}

const NOTHING: CacheBytes = { used: 0, allocated: 0 };

/** The passes in which a residual hands its rows over to the cache behind it: whole blocks, one token late. */
function handedOver({ first, total }: Passes, residual: number): Passes {
  const blocks = (tokens: number) => Math.max(wholeBlocks(tokens - 1, residual), 0);
  return { first: blocks(first), step: residual, total: blocks(total) };
}

/** @throws RequestError if the cache cannot hold so many tokens, of which it stores all but a residual */
function expectRoom(cache: CacheName, sizes: CacheSizes, tokens: number, stored: number): void {
  if (cache === 'preallocated') expectPreallocated(sizes.cacheTokens, tokens);
  if (cache !== 'paged' && cache !== 'prefix' && cache !== 'radix') return;
  const { pageSize, poolPages } = sizes;
  const pages = Math.ceil(stored / pageSize);
  if (pages <= poolPages) return;
  throw new RequestError(
    `${tokens} tokens take ${pages} pages of ${pageSize}, and the pool has ${poolPages}; raise poolPages (--pool-pages).`,
  );
}

/** One layer's rows in the form in which they are kept for good. */
function storedBytes(cache: CacheName, plan: LayerPlan, sizes: CacheSizes, passes: Passes): CacheBytes {
  switch (cache) {
    case 'none':
      return NOTHING;
    case 'contiguous':
      return contiguousBytes(plan, grownBy(passes, CONTIGUOUS_GROWTH), passes);
    case 'preallocated':
      return contiguousBytes(plan, sizes.cacheTokens, passes);
    case 'ring':
      if (Number.isFinite(plan.retention.span)) return ringBytes(plan, passes);
      return contiguousBytes(plan, grownBy(passes, CONTIGUOUS_GROWTH), passes);
    case 'paged':
    case 'prefix':
    case 'radix':
      return pagedBytes(plan, sizes.pageSize, passes);
    default:
      return cache satisfies never;
  }
}

function contiguousBytes({ layout }: LayerPlan, slots: number, { total }: Passes): CacheBytes {
  return { used: bytesOf(layout, total), allocated: bytesOf(layout, slots) };
}

/** The sinks, the ring, and beside them the rows of the last pass, if it was no longer than the ring. */
function ringBytes(plan: LayerPlan, passes: Passes): CacheBytes {
  const { layout } = plan;
  const { first, step, total } = passes;
  const size = ringSize(plan);
  const prompt = freshAfter(first, size);
  const fresh = total > first ? freshAfter(Math.max(prompt, step), size) : prompt;
  const grownTo = (most: number) => grownBy(passes, boundedGrowth(most, layout.alignment));
  const slots = [grownTo(size.sinks), grownTo(size.span), fresh];
  const held = Math.min(total, size.sinks + size.span);
  return { used: bytesOf(layout, held), allocated: slots.reduce((bytes, count) => bytes + bytesOf(layout, count), 0) };
}

function pagedBytes({ layout }: LayerPlan, pageSize: number, { total }: Passes): CacheBytes {
  return { used: bytesOf(layout, total), allocated: Math.ceil(total / pageSize) * bytesOf(layout, pageSize) };
}

/**
 * What any cache must keep for a sequence of this length: the rows that its last token reads, in the form in which it reads them, with the
 * scales that they need. No rounding to pages or groups, nothing allocated in advance.
 */
export function idealBytes(options: CacheOptions, tokens: number): number {
  return idealLayers(options, tokens).reduce((bytes, layer) => bytes + layer, 0);
}

/** The same, for each layer. */
export function idealLayers(options: CacheOptions, tokens: number): number[] {
  const { residual } = kvFormat(options.dtype);
  const quantised = residual === 0 ? tokens : wholeBlocks(tokens, residual);
  const exact = plansOf({ ...options, dtype: options.precision });
  return plansOf(options).map(({ layout, retention }, layer) => {
    const newest = seenBy(retention, tokens, tokens, 1) - seenBy(retention, tokens, quantised, 1);
    return seenBytes(layout, retention, tokens, quantised) + bytesOf(exact[layer]!.layout, newest);
  });
}

/** Bytes of the first `end` of `tokens` rows, as far as the last token sees them. */
function seenBytes({ streams }: RowLayout, retention: Retention, tokens: number, end: number): number {
  const parts = streams.flatMap(({ codec }) => codec.parts);
  const of = ({ slots, length, dtype }: (typeof parts)[number]) =>
    seenBy(retention, tokens, end, slots) * length * BYTES[dtype];
  return parts.reduce((bytes, part) => bytes + of(part), 0);
}

/** Of the first `end` rows in runs of `slots`: how many runs hold a row that the last of `tokens` sees. */
function seenBy({ sinks, oldest }: Retention, tokens: number, end: number, slots: number): number {
  const from = tokens > 0 ? oldest(tokens - 1) : 0;
  const first = Math.ceil(Math.min(sinks, end) / slots);
  return first + Math.max(Math.ceil(end / slots) - Math.max(Math.floor(from / slots), first), 0);
}
