import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import type { HubReason } from '../../src/errors.js';
import {
  blobsOf,
  cacheFolder,
  expectFiles,
  expectSound,
  failure,
  get,
  IMPATIENT,
  NAME,
  READ,
  repository,
  user,
} from '../support/hub.js';
import type { Fault } from '../support/hub-faults.js';
import { HubServer, oidOf } from '../support/hub-server.js';

const WEIGHTS = 'model.safetensors';
const files = repository();
const SIZE = files[WEIGHTS]!.length;
const BLOB = oidOf(files[WEIGHTS]!, WEIGHTS);

async function serve(): Promise<HubServer> {
  const server = await HubServer.start();
  server.publish(NAME, files);
  return server;
}

/** What is left of the weights; -1 for nothing. */
function partialSize(env: NodeJS.ProcessEnv): number {
  const path = join(cacheFolder(env), 'blobs', `${BLOB}.incomplete`);
  return existsSync(path) ? statSync(path).size : -1;
}

interface Case {
  readonly what: string;
  readonly fault: Fault;
  /** Of what is said when it never ends. */
  readonly message: RegExp;
  readonly reason: HubReason;
  /** Bytes of the weights that wait for the next attempt. */
  readonly kept: number;
  /** What is asked for where the fault happens once, in one run. */
  readonly once: readonly string[];
}

const CASES: readonly Case[] = [
  {
    what: 'a connection that is cut',
    fault: { kind: 'cut', at: 70_000 },
    message: /the connection to \S+ broke \(\w+\); try again later: what was received is kept\.$/,
    reason: 'failing',
    kept: 70_000,
    once: ['all', 'bytes=70000-'],
  },
  {
    what: 'a connection that is cut before the first byte',
    fault: { kind: 'cut', at: 0 },
    message: /the connection to \S+ broke/,
    reason: 'failing',
    kept: -1,
    once: ['all', 'all'],
  },
  {
    what: 'a file that is shorter than said',
    fault: { kind: 'short', at: 70_000 },
    message: new RegExp(`sent 70000 of ${SIZE} bytes and no more`),
    reason: 'failing',
    kept: 70_000,
    once: ['all', 'bytes=70000-'],
  },
  {
    what: 'a file that is longer than said',
    fault: { kind: 'long' },
    message: new RegExp(`sent bytes whose sha256 is [0-9a-f]{64} twice, and describes a file of ${SIZE} bytes`),
    reason: 'damaged',
    kept: -1,
    once: ['all', 'all'],
  },
  {
    what: 'a wrong byte',
    fault: { kind: 'wrong' },
    message: new RegExp(`sent bytes whose sha256 is [0-9a-f]{64} twice, .* with ${BLOB}; they were removed`),
    reason: 'damaged',
    kept: -1,
    once: ['all', 'all'],
  },
  {
    what: 'a connection that goes silent',
    fault: { kind: 'stall', at: 70_000 },
    message: /was silent for 0.1 s; .*HF_HUB_DOWNLOAD_TIMEOUT sets another number/,
    reason: 'failing',
    kept: 70_000,
    once: ['all', 'bytes=70000-'],
  },
  {
    what: 'a server that never answers',
    fault: { kind: 'hang' },
    message: /was silent for 0.1 s/,
    reason: 'failing',
    kept: -1,
    once: ['all', 'all'],
  },
  {
    what: 'status 500',
    fault: { kind: 'status', status: 500 },
    message: /fails \(status 500\)/,
    reason: 'failing',
    kept: -1,
    once: ['all', 'all'],
  },
  {
    what: 'status 429',
    fault: { kind: 'status', status: 429 },
    message: /asks for fewer requests \(status 429\); try again later, or give a token as HF_TOKEN/,
    reason: 'failing',
    kept: -1,
    once: ['all', 'all'],
  },
];

describe.each(CASES)('$what', ({ fault, message, reason, kept, once }) => {
  it('is got over where it happens once', async () => {
    const server = await serve();
    const env = user(server, IMPATIENT);
    server.fail(WEIGHTS, fault, 1);
    const folder = await get(env);
    expectFiles(folder, files, READ);
    expectSound(env);
    expect(server.transfers(WEIGHTS)).toEqual(once);
  });

  it('ends in one sentence where it does not end, and the next run gets the rest', async () => {
    const server = await serve();
    const env = user(server, IMPATIENT);
    server.fail(WEIGHTS, fault);
    const error = await failure(get(env, { retries: 2 }));
    expect(error.message).toContain(`${NAME}, ${WEIGHTS}: `);
    expect(error.message).toMatch(message);
    expect(error.reason).toBe(reason);
    expectSound(env);
    expect(blobsOf(env)).not.toContain(BLOB);
    expect(partialSize(env)).toBe(kept);
    expect((await failure(get(env, { offline: true }))).message).toContain(`no ${WEIGHTS} of revision main`);
    server.heal();
    server.requests.length = 0;
    const folder = await get(env);
    expect(server.transfers()).toEqual([kept > 0 ? `bytes=${kept}-` : 'all']);
    expectFiles(folder, files, READ);
    expectSound(env);
    await server.stop();
    expect(await get({ ...env, HF_HUB_OFFLINE: '1' })).toBe(folder);
  });
});

// Whatever comes together, in whatever order: each run leaves a sound cache, and the last one everything.
const at = fc.integer({ min: 0, max: SIZE });
const someFault: fc.Arbitrary<Fault> = fc.oneof(
  fc.record({ kind: fc.constantFrom('cut' as const, 'short' as const), at }),
  fc.constantFrom<Fault>({ kind: 'wrong' }, { kind: 'long' }, { kind: 'no ranges' }, { kind: 'bad ranges' }),
  fc.record({ kind: fc.constant('status' as const), status: fc.constantFrom(403, 404, 429, 500) }),
);
test.prop([fc.array(someFault, { maxLength: 6 }), fc.integer({ min: 0, max: 2 })], { numRuns: 20 })(
  'any row of faults is got over in some runs',
  async (faults, retries) => {
    const server = await serve();
    const env = user(server);
    for (const fault of faults) server.fail(WEIGHTS, fault, 1);
    let folder: string | null = null;
    for (let runs = 0; folder === null && runs <= faults.length; runs += 1) {
      folder = await get(env, { retries }).catch(async (error: unknown) => {
        await failure(Promise.reject(error));
        return null;
      });
      expectSound(env);
    }
    expectFiles(folder!, files, READ);
  },
);

describe('a partial file', () => {
  async function withPartial(bytes: Buffer): Promise<[HubServer, NodeJS.ProcessEnv]> {
    const server = await serve();
    const env = user(server);
    server.fail(WEIGHTS, { kind: 'cut', at: 10 });
    await failure(get(env, { retries: 0 }));
    writeFileSync(join(cacheFolder(env), 'blobs', `${BLOB}.incomplete`), bytes);
    server.heal();
    server.requests.length = 0;
    return [server, env];
  }

  it('is begun again where the server knows no ranges', async () => {
    const [server, env] = await withPartial(files[WEIGHTS]!.subarray(0, 999));
    server.fail(WEIGHTS, { kind: 'no ranges' });
    expectFiles(await get(env), files, READ);
    expect(server.transfers()).toEqual(['bytes=999-']);
    expectSound(env);
  });

  it('is begun again where the server refuses the range', async () => {
    const [server, env] = await withPartial(files[WEIGHTS]!.subarray(0, 999));
    server.fail(WEIGHTS, { kind: 'bad ranges' });
    expectFiles(await get(env), files, READ);
    expect(server.transfers()).toEqual(['bytes=999-', 'all']);
  });

  it('is begun again where it holds something else', async () => {
    const [server, env] = await withPartial(Buffer.alloc(999, 7));
    expectFiles(await get(env), files, READ);
    expect(server.transfers()).toEqual(['bytes=999-', 'all']);
    expectSound(env);
  });

  it('is begun again where it is longer than the file', async () => {
    const [server, env] = await withPartial(Buffer.alloc(SIZE + 1));
    expectFiles(await get(env), files, READ);
    expect(server.transfers()).toEqual(['all']);
  });

  it('that has everything needs no request', async () => {
    const [server, env] = await withPartial(files[WEIGHTS]!);
    expectFiles(await get(env), files, READ);
    expect(server.transfers()).toEqual([]);
    expectSound(env);
  });
});
