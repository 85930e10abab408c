/** Requests to a hub: with its token, for a limited time, and again where that may help. */
import { setTimeout as sleep } from 'node:timers/promises';
import { VERSION } from '../../version.js';
import { type Asked, faultOfAnswer, faultOfConnection, faultOfPage, faultOfSilence, PassingFault } from './faults.js';
import type { HubModel } from './name.js';
import type { HubSettings } from './settings.js';

export interface HubClient {
  readonly model: HubModel;
  readonly settings: HubSettings;
  /** Requests that are made again after a passing fault, one after the other without any progress. */
  readonly retries: number;
  /** Milliseconds before the first of them; each further one waits twice as long. */
  readonly retryDelay: number;
  readonly signal: AbortSignal | null;
  readonly fetch: typeof fetch;
}

/** What a server may ask us to wait at most; after more, the user decides. */
const LONGEST_WAIT = 20_000;
const LONGEST_DELAY = 8_000;

export function askedOf({ model, settings: { endpoint, token } }: HubClient, file: string | null): Asked {
  return { model, endpoint, token, file };
}

/**
 * A `fetch` for questions about files, as the hub's library calls it: the whole answer, which is a success.
 * @param retries fewer than the client's, where another answer is at hand
 * @throws HubError
 */
export function questions(client: HubClient, retries = client.retries): typeof fetch {
  const asked = askedOf(client, null);
  return (input, init) =>
    persistently(client, retries, async () => {
      const { answerTimeout } = client.settings;
      const timer = AbortSignal.timeout(answerTimeout);
      try {
        const response = await client.fetch(input, { ...init, ...common(client, init?.headers, timer) });
        const body = await response.arrayBuffer();
        if (!response.ok) throw faultOfAnswer(response, asked);
        return new Response(body, { status: response.status, headers: response.headers });
      } catch (error) {
        client.signal?.throwIfAborted();
        if (timer.aborted) throw faultOfSilence(answerTimeout, 'HF_HUB_ETAG_TIMEOUT', asked);
        throw error instanceof TypeError ? faultOfConnection(error, asked) : error;
      }
    });
}

/** Asks again after faults that may pass, except where nobody is there at all. */
async function persistently<T>(client: HubClient, retries: number, ask: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; ) {
    try {
      return await ask();
    } catch (error) {
      failures += 1;
      if (!(error instanceof PassingFault) || error.reason === 'unreachable' || failures > retries) throw error;
      await patience(client, error, failures);
    }
  }
}

/** Waits before the next attempt. @throws the fault where its server asks for a longer time than anyone would wait here */
export async function patience(client: HubClient, fault: PassingFault, failures: number): Promise<void> {
  const delay = Math.min(client.retryDelay * 2 ** (failures - 1), LONGEST_DELAY);
  const wait = Math.max(fault.retryAfter ?? 0, delay);
  if (wait > LONGEST_WAIT) throw fault;
  await pause(wait, client.signal);
}

/** @throws the signal's reason, at once when it is aborted */
export async function pause(milliseconds: number, signal: AbortSignal | null): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal ? { signal } : {});
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

/**
 * Reads a file's bytes from `from` on, in order.
 * @param begin is told where the answer begins: at `from`, or at 0 where the server does not know ranges
 * @param take is given each piece; false ends the transfer
 * @throws HubError; a PassingFault where going on from what was taken may help
 */
export async function readBytes(
  client: HubClient,
  file: string,
  url: string,
  from: number,
  begin: (start: number) => Promise<void>,
  take: (piece: Uint8Array) => Promise<boolean>,
): Promise<void> {
  const asked = askedOf(client, file);
  const idle = idleTimer(client.settings.silence);
  try {
    const range: Record<string, string> = from > 0 ? { range: `bytes=${from}-` } : {};
    // Ranges of a compressed body would be ranges of other bytes.
    const headers = { ...range, 'accept-encoding': 'identity' };
    const response = await client.fetch(url, common(client, headers, idle.signal));
    await begin(await startOf(response, from, asked));
    for await (const piece of pieces(response)) {
      idle.rest();
      if (!(await take(piece))) break;
      idle.again();
    }
  } catch (error) {
    client.signal?.throwIfAborted();
    if (idle.signal.aborted) throw faultOfSilence(client.settings.silence, 'HF_HUB_DOWNLOAD_TIMEOUT', asked);
    throw error instanceof TypeError ? faultOfConnection(error, asked) : error;
  } finally {
    idle.rest();
  }
}

/** Where an answer's bytes begin. A range that the server cannot give, or another one than was asked for, is none. */
async function startOf(response: Response, from: number, asked: Asked): Promise<number> {
  if (response.ok && isPage(response, asked)) {
    await response.body?.cancel();
    throw faultOfPage(asked);
  }
  if (response.status === 200) return 0;
  const start = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
  if (response.status === 206 && Number(start) === from) return from;
  await response.body?.cancel();
  throw response.ok || response.status === 416 ? new UnknownRange() : faultOfAnswer(response, asked);
}

/** Of someone else, who stands between (a login to a network, a proxy), where it cannot be what was asked for. */
function isPage({ headers }: Response, { file }: Asked): boolean {
  return /^text\/html\b/i.test(headers.get('content-type') ?? '') && /\.(safetensors|json)$/.test(file ?? '');
}

/** The server cannot go on from where a partial file ends. */
export class UnknownRange extends Error {}

async function* pieces(response: Response): AsyncGenerator<Uint8Array> {
  if (response.body) for await (const piece of response.body) yield piece as Uint8Array;
}

/**
 * What all requests have in common. fetch takes the token away where a redirect leads to another origin (Fetch
 * standard, HTTP-redirect fetch, step 13), as to the hosts of large files, which need none.
 */
function common({ settings, signal }: HubClient, headers: RequestInit['headers'], timer: AbortSignal): RequestInit {
  const all = new Headers(headers);
  all.set('user-agent', `touchstone/${VERSION}`);
  if (settings.token !== null) all.set('authorization', `Bearer ${settings.token}`);
  return { headers: all, signal: signal ? AbortSignal.any([signal, timer]) : timer };
}

interface IdleTimer {
  readonly signal: AbortSignal;
  again(): void;
  rest(): void;
}

/** Aborts when it is not told for some time that there is life; writing to a slow disk does not count. */
function idleTimer(milliseconds: number): IdleTimer {
  const controller = new AbortController();
  const start = (): NodeJS.Timeout => setTimeout(() => controller.abort(), milliseconds);
  let timer = start();
  const rest = (): void => clearTimeout(timer);
  const again = (): void => {
    rest();
    timer = start();
  };
  return { signal: controller.signal, rest, again };
}
