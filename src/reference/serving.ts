/**
 * Continuous batching, as little of it as a cache needs to be tried as in service: requests come in while memory has room, every running sequence gets
 * a token a step, finished ones leave. When a step finds no room, the youngest sequence gives all of its memory back and is fed again later (Kwon et
 * al. 2023, section 4.5: preemption by recomputation).
 */
import type { KvCache } from '../../attention/cache/cache.js';
import { RequestError } from '../errors.js';
import type { Sequence } from '../model/transformer.js';
import type { Request } from './workload.js';

export interface Running {
  readonly request: Request;
  readonly cache: KvCache;
}

/** What sequences are held in, and how much there is of it. */
export interface Memory {
  /**
   * A cache for the first `known` tokens of a request, which may hold some of them already; null while there is no room.
   * @param running what memory holds by now; with nothing in it, every request must fit
   */
  admit(request: Request, known: number, running: readonly Running[]): KvCache | null;
  /** Whether every one of them can take one more token. */
  hasRoom(running: readonly Running[]): boolean;
}

export type PassKind = 'prefill' | 'decode';

export interface ServeOptions {
  /** Feeds the sequences' tokens to their caches. */
  readonly pass: (sequences: readonly Sequence[], kind: PassKind) => void | Promise<void>;
  /** Is shown what runs, after each step and before those that are finished leave. */
  readonly observe?: (running: readonly Running[], waiting: number) => void;
  /** Awaited now and then: a chance for timers and signals. */
  readonly pause?: (() => Promise<void>) | undefined;
}

export interface Served {
  readonly steps: number;
  /** Tokens that were fed when a request came in (or came back), and one a step and sequence. */
  readonly prefilled: number;
  readonly decoded: number;
  /** Of the prefilled ones, those that had been fed before their sequence was preempted. */
  readonly fedAgain: number;
  /** Tokens that were found stored when a request came in (or came back). */
  readonly adopted: number;
  readonly preemptions: number;
}

/** A request whose first `known` tokens are the prompt, and what had been answered when it was preempted. */
interface Waiting {
  readonly request: Request;
  readonly known: number;
}

const STEPS_BETWEEN_PAUSES = 256;

/**
 * Serves requests in their order until all are answered.
 * @throws RequestError for a request that has no room even alone
 */
export async function serve(
  requests: readonly Request[],
  memory: Memory,
  { pass, observe, pause }: ServeOptions,
): Promise<Served> {
  const queue: Waiting[] = requests.map((request) => ({ request, known: request.prompt })).reverse(); // the next is last
  const counts = { steps: 0, prefilled: 0, decoded: 0, fedAgain: 0, adopted: 0, preemptions: 0 };
  let running: Running[] = [];
  while (queue.length + running.length > 0) {
    while (!memory.hasRoom(running)) {
      queue.push(preempt(running.pop()!));
      counts.preemptions++;
    }
    if (running.length > 0) await pass(running.map(nextToken), 'decode');
    counts.decoded += running.length;
    for (let next = admit(queue, memory, running); next; next = admit(queue, memory, running)) {
      const { request, known, cache } = next;
      counts.adopted += cache.next;
      counts.prefilled += known - cache.next;
      if (known > request.prompt) counts.fedAgain += known - 1 - cache.next;
      await pass([{ ids: request.ids.slice(cache.next, known), cache }], 'prefill');
      running.push({ request, cache });
    }
    observe?.(running, queue.length);
    running = running.filter(isUnfinished);
    if (++counts.steps % STEPS_BETWEEN_PAUSES === 0) await pause?.();
  }
  return counts;
}

/** Takes the next request from the queue, if memory has room for it: none overtakes another. */
function admit(queue: Waiting[], memory: Memory, running: readonly Running[]): (Waiting & Running) | null {
  const next = queue.at(-1);
  if (!next) return null;
  const cache = memory.admit(next.request, next.known, running);
  if (cache) return { ...queue.pop()!, cache };
  if (running.length > 0) return null;
  throw new RequestError(`Memory has no room for a request of ${next.request.ids.length} tokens, even alone.`);
}

/** The token that was chosen in the step before. */
function nextToken({ request, cache }: Running): Sequence {
  return { ids: [request.ids[cache.next]!], cache };
}

/** Takes everything from it. @returns what waits: the token that was chosen last is known, though not fed */
function preempt({ request, cache }: Running): Waiting {
  const known = cache.next + 1;
  cache.release();
  return { request, known };
}

/** The last token of an answer is not fed: a sequence that has made it gives its memory back. */
function isUnfinished({ request, cache }: Running): boolean {
  const finished = cache.next >= request.ids.length - 1;
  if (finished) cache.release();
  return !finished;
}
