import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HubReason } from '../../src/errors.js';
import {
  blobsOf,
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
import { HubServer } from '../support/hub-server.js';

const WEIGHTS = 'model.safetensors';
const files = repository();

async function serve(): Promise<HubServer> {
  const server = await HubServer.start();
  server.publish(NAME, files);
  return server;
}

describe('a server with much to do', () => {
  it.each([429, 503])('is given the time that it asks for (status %i)', async (status) => {
    const server = await serve();
    server.fail(WEIGHTS, { kind: 'status', status, headers: { 'Retry-After': '1' } }, 1);
    const start = Date.now();
    await get(user(server));
    expect(Date.now() - start).toBeGreaterThanOrEqual(1000);
  });

  it('is given it by a date, and for questions', async () => {
    const server = await serve();
    const date = new Date(Date.now() + 2500).toUTCString();
    server.fail(null, { kind: 'status', status: 429, headers: { 'Retry-After': date } }, 1);
    const start = Date.now();
    await get(user(server));
    expect(Date.now() - start).toBeGreaterThanOrEqual(1000);
  });

  it('is not waited for longer than anyone would', async () => {
    const server = await serve();
    server.fail(null, { kind: 'status', status: 429, headers: { 'Retry-After': '300' } });
    const error = await failure(get(user(server)));
    expect(error.message).toContain('asks for fewer requests and to wait for 300 s (status 429)');
    expect(server.requests).toHaveLength(1);
  });

  it('is asked so and so often, and no more', async () => {
    const server = await serve();
    server.fail(null, { kind: 'status', status: 500 });
    await failure(get(user(server), { retries: 3 }));
    expect(server.requests).toHaveLength(4);
    server.heal();
    server.fail(WEIGHTS, { kind: 'cut', at: 70_000 });
    await failure(get(user(server), { retries: 3 }));
    expect(server.transfers(WEIGHTS)).toEqual(['all', 'bytes=70000-', 'bytes=70000-', 'bytes=70000-']);
  });
});

describe('a model that may not be had', () => {
  it.each<[what: string, access: 'private' | 'gated', token: string, reason: HubReason, message: RegExp]>([
    [
      'private, without a token',
      'private',
      '',
      'denied',
      /status 401.*no such model, or it is private or gated; .*HF_TOKEN/,
    ],
    ['private, with a wrong token', 'private', 'hf_wrong', 'denied', /status 401.*the token in use is not valid/],
    [
      'gated, without a token',
      'gated',
      '',
      'denied',
      /gated \(status 401\); accept its licence at \S+\/owner\/name and give a token/,
    ],
    [
      'gated, with a wrong token',
      'gated',
      'hf_wrong',
      'denied',
      /gated \(status 403\); accept .* with the account of the token/,
    ],
  ])('%s', async (_, access, token, reason, message) => {
    const server = await serve();
    server.protect(NAME, access);
    const env = user(server, { HF_TOKEN: token });
    const error = await failure(get(env));
    expect(error.message).toMatch(message);
    expect(error.reason).toBe(reason);
    expect(server.requests).toHaveLength(1);
    expect(blobsOf(env)).toEqual([]);
    expectFiles(await get({ ...env, HF_TOKEN: ' hf_right\n' }), files, READ);
  });

  it('may be denied only when its bytes are asked for', async () => {
    const server = await serve();
    const env = user(server);
    server.fail(WEIGHTS, { kind: 'status', status: 403, headers: { 'X-Error-Code': 'GatedRepo' } });
    expect((await failure(get(env))).reason).toBe('denied');
    expectSound(env);
  });

  it('does not exist', async () => {
    const server = await serve();
    const signed = user(server, { HF_TOKEN: 'hf_right' });
    const error = await failure(get(signed, {}, 'owner/other'));
    expect(error.message).toMatch(/^owner\/other: there is no such folder, and no such model at http/);
    expect(error.reason).toBe('no-model');
    expect((await failure(get(user(server), {}, 'owner/other'))).message).toContain('there is no such model, or it is');
  });

  it('has no such revision', async () => {
    const server = await serve();
    const error = await failure(get(user(server), {}, `${NAME}@v9`));
    expect(error.message).toMatch(/has no revision v9 of it; expected a branch, a tag or a commit/);
    expect(error.reason).toBe('no-revision');
  });

  it('lost a file', async () => {
    const server = await serve();
    const env = user(server);
    server.fail(WEIGHTS, { kind: 'status', status: 404, headers: { 'X-Error-Code': 'EntryNotFound' } });
    const error = await failure(get(env));
    expect(error.message).toMatch(/has no file model.safetensors at main/);
    expect(error.reason).toBe('no-file');
    expectSound(env);
  });
});

describe('a hub that cannot be asked', () => {
  it('is said to be out of reach, at once', async () => {
    const server = await serve();
    const env = user(server);
    await server.stop();
    const error = await failure(get(env, { retryDelay: 60_000 }));
    expect(error.message).toMatch(
      /^owner\/name: there is no such folder here, and http\S+ cannot be reached \(ECONNREFUSED\); check the name, the network and HF_ENDPOINT\.$/,
    );
    expect(error.reason).toBe('unreachable');
  });

  it.each<[what: string, fault: Fault | null]>([
    ['nobody there', null],
    ['status 500', { kind: 'status', status: 500 }],
    ['status 401', { kind: 'status', status: 401 }],
    ['no answer', { kind: 'hang' }],
    ['the page of a login', { kind: 'page' }],
  ])('is done without where the cache has everything: %s', async (_, fault) => {
    const server = await serve();
    const env = user(server, IMPATIENT);
    const folder = await get(env);
    server.requests.length = 0;
    if (fault) server.fail(null, fault);
    else await server.stop();
    const warnings: string[] = [];
    expect(await get(env, { warn: (message) => warnings.push(message), retryDelay: 60_000 })).toBe(folder);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^owner\/name: [^\n]*; the copy in the cache is used\.$/);
  });

  it('is believed where it says that there is no such revision any more', async () => {
    const server = await serve();
    const env = user(server);
    await get(env);
    server.fail(null, { kind: 'status', status: 404, headers: { 'X-Error-Code': 'RevisionNotFound' } });
    expect((await failure(get(env))).reason).toBe('no-revision');
  });

  it.each<[what: string, part: string, change: (answer: never) => unknown]>([
    ['commit', '/revision/', (answer: object) => ({ ...answer, sha: '../../../x' })],
    ['commit', '/revision/', (answer: object) => ({ ...answer, sha: 7 })],
    ['list of files', '/revision/', (answer: object) => ({ ...answer, siblings: 'all' })],
    ['digest', '/paths-info/', (all: object[]) => all.map((each) => ({ ...each, oid: '../../x', lfs: undefined }))],
    ['digest', '/paths-info/', (all: object[]) => all.map((each) => ({ ...each, lfs: { oid: '../x', size: 1 } }))],
    ['size', '/paths-info/', (all: object[]) => all.map((each) => ({ ...each, size: -1, lfs: undefined }))],
    ['answer', '/paths-info/', () => ({})],
  ])('is not believed a %s that is none', async (_, part, change) => {
    const server = await serve();
    const env = user(server);
    const liar: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (!String(input).includes(part)) return response;
      return new Response(JSON.stringify(change((await response.json()) as never)), { headers: response.headers });
    };
    expect((await failure(get(env, { fetch: liar }))).reason).toBe('no-hub');
    expect(server.transfers()).toEqual([]);
    expect(blobsOf(env)).toEqual([]);
  });

  it('is not done without where the cache has a part', async () => {
    const server = await serve();
    const env = user(server);
    server.fail(WEIGHTS, { kind: 'cut', at: 70_000 });
    await failure(get(env, { retries: 0 }));
    await server.stop();
    expect((await failure(get(env))).reason).toBe('unreachable');
  });

  it('is no hub', async () => {
    const server = await serve();
    server.fail(null, { kind: 'page' });
    const error = await failure(get(user(server)));
    expect(error.message).toMatch(/what answers at http\S+ is not a hub of models; check HF_ENDPOINT/);
    expect(error.reason).toBe('no-hub');
  });
});

describe('the token', () => {
  it('goes to the hub, and not to the host of large files', async () => {
    const server = await serve();
    server.protect(NAME, 'gated');
    await get(user(server, { HF_TOKEN: 'hf_right' }));
    expect(server.requests.some(({ host }) => host === 'store')).toBe(true);
    for (const { host, token } of server.requests) expect(token).toBe(host === 'hub' ? 'hf_right' : null);
  });

  it('is read from the file of a login, unless that is forbidden', async () => {
    const server = await serve();
    server.protect(NAME, 'gated');
    const env = user(server);
    writeFileSync(join(env.HF_HOME!, 'token'), 'hf_right\n');
    await failure(get({ ...env, HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }));
    expectFiles(await get(env), files, READ);
    expect(readFileSync(join(env.HF_HOME!, 'token'), 'utf8')).toBe('hf_right\n');
  });
});
