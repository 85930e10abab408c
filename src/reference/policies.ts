/** The ways of sharing out memory that are measured, each beside what was published of it. */
import { UsageError } from '../errors.js';
import { ONE_VALUE } from './fragmentation.js';
import { type MeteredMemory, type PageIndexName, pagedMemory, pagesOf, reservations } from './serving-memory.js';
import type { Request } from './workload.js';

/** Of Kwon et al. 2023, for OPT-13B on one A100: figure 2 (share of memory that holds tokens), figure 13 (requests at once, ShareGPT). */
export interface Published {
  readonly utilisation: number;
  readonly running: number;
  /** Share of memory that is taken and holds no token: reserved for tokens to come, or never used. */
  readonly idle: number;
}

export interface Policy {
  readonly kind: 'reservation' | 'pages';
  /** What is reserved, or the tokens of a page. */
  readonly name: string;
  readonly published: Published | null;
  newMemory(): MeteredMemory;
}

export interface MemorySizes {
  readonly memoryTokens: number;
  readonly maxTokens: number;
  readonly pageSizes: readonly number[];
}

/** The paper's: 12 GiB for keys and values, at 800 KiB a token (table 1: "15.7K slots"), and sequences of at most 2,048. */
export const PUBLISHED_SIZES = { memoryTokens: 15_728, maxTokens: 2_048 } as const;

/** vLLM's page. */
export const PUBLISHED_PAGE = 16;

/**
 * Reservations as the paper's three Orcas make them, then pages.
 * @throws UsageError where the longest request would not fit
 */
export function policiesOf(sizes: MemorySizes): Policy[] {
  const { memoryTokens, maxTokens, pageSizes } = sizes;
  for (const pageSize of [PUBLISHED_PAGE, ...pageSizes]) expectRoom(sizes, pageSize);
  const comparable = memoryTokens === PUBLISHED_SIZES.memoryTokens && maxTokens === PUBLISHED_SIZES.maxTokens;
  /** Figure 2's token states, and what it calls reservation and internal fragmentation; figure 13's batch. */
  const published = (utilisation: number, running: number, reservation: number, internal = 0) =>
    comparable ? { utilisation, running, idle: reservation + internal } : null;
  const reserve = (name: string, of: Published | null, tokens: (request: Request) => number): Policy => ({
    kind: 'reservation',
    name,
    published: of,
    newMemory: () => reservations(ONE_VALUE, memoryTokens, tokens),
  });
  return [
    reserve('the maximum', published(0.204, 7, 0.133, 0.573), () => maxTokens),
    reserve('a power of two', published(0.268, 9.81, 0.179, 0.136), (request) =>
      Math.min(maxTokens, powerOfTwo(request)),
    ),
    reserve('the length itself', published(0.382, 13.62, 0.252), heldAtMost),
    ...pageSizes.map(
      (pageSize): Policy => ({
        kind: 'pages',
        name: pageSize === 1 ? '1 token' : String(pageSize),
        published: pageSize === PUBLISHED_PAGE ? published(0.963, 30.42, 0.037) : null,
        newMemory: () => inPages(memoryTokens, pageSize, 'none'),
      }),
    ),
  ];
}

export function inPages(memoryTokens: number, pageSize: number, index: PageIndexName): MeteredMemory {
  return pagedMemory(pagesOf(ONE_VALUE, { memoryTokens, pageSize }, index), memoryTokens);
}

/** The last token of an answer is never fed. */
function heldAtMost({ ids }: Request): number {
  return ids.length - 1;
}

/** The prompt, and the answer's length rounded up: what a server would reserve that guesses no more than twice too much. */
function powerOfTwo({ ids, prompt }: Request): number {
  return prompt + 2 ** Math.ceil(Math.log2(ids.length - prompt));
}

function expectRoom({ memoryTokens, maxTokens }: MemorySizes, pageSize: number): void {
  const whole = Math.floor(memoryTokens / pageSize) * pageSize;
  if (whole >= maxTokens) return;
  throw new UsageError(
    `memoryTokens (--memory-tokens): ${memoryTokens} tokens hold ${whole} in whole pages of ${pageSize}, and a request may have ${maxTokens} ` +
      '(--max-tokens); give more memory, smaller pages (--page-sizes), or shorter requests (--max-tokens).',
  );
}
