/**
 * What pages cost: the part of a model's decode step that goes into block tables, into finding pages of earlier requests, and into letting go of pages.
 * Requests are short, half of them begin alike, and memory is so small that pages must be evicted.
 */
import { PagedCache } from '../../attention/cache/paged.js';
import type { PrefixIndex } from '../../attention/cache/prefix-index.js';
import type { Model } from '../model/load.js';
import { forward, type Sequence } from '../model/transformer.js';
import { PhaseClock, timed } from './phase-clock.js';
import { type PassKind, serve } from './serving.js';
import { type PageIndexName, type Pages, pagedMemory, pagesOf } from './serving-memory.js';
import { drawRequests, type Request } from './workload.js';

/**
 * `tables`: taking and giving back pages, the block table, and the list of blocks with their positions that each layer reads from it. `matching`: taking
 * over pages that an index finds, and making whole pages known to it. `eviction`: counting the pages that the index alone holds, and letting go of
 * them. `model`: everything else; writing rows, which every cache does, is in it.
 */
type Phase = 'model' | (typeof BOOKKEEPING)[number];

const BOOKKEEPING = ['tables', 'matching', 'eviction'] as const;
const PHASES: readonly Phase[] = ['model', ...BOOKKEEPING];

const IN_CACHE = {
  begin: 'tables',
  blocks: 'tables',
  commit: 'tables',
  abort: 'tables',
  pagesFor: 'tables',
  rollback: 'tables',
  release: 'tables',
  adopt: 'matching',
} as const satisfies Partial<Record<keyof PagedCache, Phase>>;

const IN_INDEX = {
  match: 'matching',
  insert: 'matching',
  evict: 'eviction',
  idle: 'eviction',
} as const satisfies Partial<Record<keyof PrefixIndex, Phase>>;

/** Milliseconds. */
export interface Bookkeeping {
  /** Of a decode step: all of it, and what of it is bookkeeping. */
  readonly step: number;
  readonly tables: number;
  readonly matching: number;
  readonly eviction: number;
  /** Bookkeeping outside of decode steps, a request: when it comes in, is fed, and leaves. */
  readonly outside: number;
  readonly steps: number;
  /** Sequences in a decode step, on average, and tokens that each of them holds. */
  readonly running: number;
  readonly held: number;
  readonly evictions: number;
}

/** Tokens. */
export const TIMED = { memory: 768, longest: 256, prompt: 32, output: 48, shared: 64, requests: 12 } as const;

/** The requests that are timed, as far as the model's context has room for them. */
export function timedRequests({ config }: Model, seed: number): Request[] {
  return drawRequests({
    seed,
    requests: TIMED.requests,
    maxTokens: Math.min(TIMED.longest, config.context),
    prompt: { mean: TIMED.prompt, sigma: 0.5 },
    output: { mean: TIMED.output, sigma: 0.5 },
    vocabulary: config.vocabulary,
    shared: { share: 0.5, prefixes: 2, tokens: TIMED.shared },
  });
}

/** Serves the requests with a model, from pages of this size. */
export async function bookkeepingOf(
  model: Model,
  requests: readonly Request[],
  { pageSize, index }: { readonly pageSize: number; readonly index: PageIndexName },
  pause?: () => Promise<void>,
): Promise<Bookkeeping> {
  const clock = new PhaseClock<Phase>('model');
  const { pages, evictions } = timedPages(model, pageSize, index, clock);
  const steps: Step[] = [];
  const pass = async (sequences: readonly Sequence[], kind: PassKind) => {
    const before = clock.read();
    await forward(model, sequences, { pause });
    if (kind === 'decode')
      steps.push({ ms: between(before, clock.read()), held: sequences.map(({ cache }) => cache.next) });
  };
  await serve(requests, pagedMemory(pages, TIMED.memory), { pass, pause });
  return summaryOf(steps, clock.read(), requests.length, evictions());
}

/** A decode step: the time of its phases, and the tokens that each of its sequences holds after it. */
interface Step {
  readonly ms: ReadonlyMap<Phase, number>;
  readonly held: readonly number[];
}

function between(before: ReadonlyMap<Phase, number>, after: ReadonlyMap<Phase, number>): ReadonlyMap<Phase, number> {
  return new Map([...after].map(([phase, ms]) => [phase, ms - (before.get(phase) ?? 0)]));
}

function summaryOf(
  steps: readonly Step[],
  all: ReadonlyMap<Phase, number>,
  requests: number,
  evictions: number,
): Bookkeeping {
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const within = (phase: Phase) => sum(steps.map(({ ms }) => ms.get(phase) ?? 0));
  const a = (phase: Phase) => within(phase) / steps.length;
  const sequences = sum(steps.map(({ held }) => held.length));
  return {
    step: sum(PHASES.map(a)),
    tables: a('tables'),
    matching: a('matching'),
    eviction: a('eviction'),
    outside: sum(BOOKKEEPING.map((phase) => (all.get(phase) ?? 0) - within(phase))) / requests,
    steps: steps.length,
    running: sequences / steps.length,
    held: sum(steps.flatMap(({ held }) => held)) / sequences,
    evictions,
  };
}

/** Pages of the model's rows, whose caches and index are timed from outside. */
function timedPages(
  { components: { stores } }: Model,
  pageSize: number,
  name: PageIndexName,
  clock: PhaseClock<Phase>,
): { pages: Pages; evictions: () => number } {
  const { pool, index: plain } = pagesOf(stores, { memoryTokens: TIMED.memory, pageSize }, name);
  const index = plain && timed(plain, IN_INDEX, clock);
  let evictions = 0;
  pool.lender = index && {
    get idle() {
      return index.idle;
    },
    evict: () => {
      evictions++;
      return index.evict();
    },
  };
  return {
    pages: { pool, index, newCache: () => timed(new PagedCache(pool, index), IN_CACHE, clock) },
    evictions: () => evictions,
  };
}
