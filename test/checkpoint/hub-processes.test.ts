import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, renameSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { ROOT } from '../support/fixtures.js';
import {
  blobsOf,
  cacheFolder,
  expectFiles,
  expectSound,
  failure,
  get,
  NAME,
  READ,
  repository,
  user,
} from '../support/hub.js';
import { HubServer, oidOf } from '../support/hub-server.js';

const WEIGHTS = 'model.safetensors';
const files = repository();
const BLOB = oidOf(files[WEIGHTS]!, WEIGHTS);

/** A process of its own that gets the model, with the built library. */
function another(env: NodeJS.ProcessEnv): ChildProcess {
  const library = JSON.stringify(join(ROOT, 'dist', 'src', 'index.js'));
  const script = `import(${library}).then(({ modelFolder }) => modelFolder('${NAME}')).then((folder) => process.stdout.write(folder))`;
  return spawn(process.execPath, ['-e', script], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function outputOf(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout!.on('data', (piece) => {
    text += piece;
  });
  const [code] = await once(child, 'close');
  expect(code).toBe(0);
  return text;
}

async function serve(): Promise<[HubServer, NodeJS.ProcessEnv]> {
  const server = await HubServer.start();
  server.publish(NAME, files);
  return [server, user(server)];
}

it('has processes and calls at once leave each other whole files', async () => {
  const [server, env] = await serve();
  const children = await Promise.all([another(env), another(env), another(env)].map(outputOf));
  const calls = await Promise.all([get(env), get(env)]);
  expect(new Set([...children, ...calls]).size).toBe(1);
  expectFiles(calls[0]!, files, READ);
  expectSound(env);
  expect(server.transfers(WEIGHTS).length).toBeLessThanOrEqual(3);
});

it('waits for a download that is under way, and takes its blob', async () => {
  const [server, env] = await serve();
  server.fail(WEIGHTS, { kind: 'stall', at: 70_000 }, 1);
  const first = get({ ...env, HF_HUB_DOWNLOAD_TIMEOUT: '0.6' });
  await vi.waitFor(() => expect(server.transfers(WEIGHTS)).toHaveLength(1));
  const seen: number[] = [];
  const second = get(env, { progress: ({ received }) => seen.push(received) });
  expect(await second).toBe(await first);
  expect(server.transfers(WEIGHTS)).toEqual(['all', 'bytes=70000-']);
  expect(seen).toContain(70_000);
  expectSound(env);
});

it('goes on where a process was killed', async () => {
  const [server, env] = await serve();
  server.fail(WEIGHTS, { kind: 'stall', at: 70_000 }, 1);
  const child = another(env);
  const left = (): string[] => blobsOf(env).filter((name) => name.startsWith(BLOB));
  await vi.waitFor(() => expect(sizeOf(env, left()[0])).toBe(70_000), { timeout: 10_000 });
  child.kill('SIGKILL');
  await once(child, 'close');
  expect(left()[0]).toMatch(/\.\d+-[0-9a-f]{8}-[0-9a-f]{8}\.incomplete$/);
  server.requests.length = 0;
  expectFiles(await get(env), files, READ);
  expect(server.transfers()).toEqual(['bytes=70000-']);
  expectSound(env);
});

it('keeps what was received when a signal ends it', async () => {
  const [server, env] = await serve();
  server.fail(WEIGHTS, { kind: 'stall', at: 70_000 }, 1);
  const controller = new AbortController();
  const reason = new Error('Ctrl-C');
  const download = get(env, {
    signal: controller.signal,
    progress: ({ file, received }) => {
      if (file === WEIGHTS && received === 70_000) controller.abort(reason);
    },
  });
  await expect(download).rejects.toBe(reason);
  expectSound(env);
  expect(sizeOf(env, `${BLOB}.incomplete`)).toBe(70_000);
  server.requests.length = 0;
  expectFiles(await get(env), files, READ);
  expect(server.transfers()).toEqual(['bytes=70000-']);
});

it('does not begin when the signal came before', async () => {
  const [server, env] = await serve();
  await expect(get(env, { signal: AbortSignal.abort(new Error('Ctrl-C')) })).rejects.toThrow('Ctrl-C');
  expect(server.requests).toEqual([]);
});

it('leaves partial files of other machines alone for an hour', async () => {
  const [server, env] = await serve();
  server.fail(WEIGHTS, { kind: 'cut', at: 70_000 });
  await failure(get(env, { retries: 0 }));
  server.heal();
  const blobs = join(cacheFolder(env), 'blobs');
  const foreign = join(blobs, `${BLOB}.99999999-00000000-00000000.incomplete`);
  renameSync(join(blobs, `${BLOB}.incomplete`), foreign);
  server.fail(WEIGHTS, { kind: 'cut', at: 0 });
  await failure(get(env, { retries: 0 }));
  expect(statSync(foreign).size).toBe(70_000);
  const old = (Date.now() - 3_700_000) / 1000;
  utimesSync(foreign, old, old);
  server.heal();
  server.requests.length = 0;
  await get(env);
  expect(server.transfers()).toEqual(['bytes=70000-']);
  expectSound(env);
});

it('says when the disk is full, and goes on when it is not', async () => {
  const [server, env] = await serve();
  const handles = await import('node:fs/promises').then(({ open }) => open(join(ROOT, 'package.json')));
  const prototype = Object.getPrototypeOf(handles) as { write(...all: unknown[]): Promise<unknown> };
  await handles.close();
  const write = prototype.write;
  prototype.write = function (this: unknown, ...all: unknown[]) {
    const [, , length, position] = all as [unknown, unknown, number, number];
    if (position + length <= 100_000) return write.apply(this, all);
    return Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' }));
  };
  try {
    const error = await failure(get(env));
    expect(error.message).toMatch(
      /models--owner--name: there is no space left \(ENOSPC\); what was received is kept, so/,
    );
    expect(error.reason).toBe('disk');
  } finally {
    prototype.write = write;
  }
  expectSound(env);
  const partial = blobsOf(env).find((name) => name.endsWith('.incomplete'))!;
  expect(partial).toMatch(/\.incomplete$/);
  const size = sizeOf(env, partial);
  const name = READ.find((each) => partial.startsWith(oidOf(files[each]!, each)))!;
  server.requests.length = 0;
  expectFiles(await get(env), files, READ);
  expect(server.transfers(name)).toEqual([`bytes=${size}-`]);
});

function sizeOf(env: NodeJS.ProcessEnv, blob: string | undefined): number {
  return blob === undefined ? -1 : statSync(join(cacheFolder(env), 'blobs', blob)).size;
}

it('says when the cache cannot be written', async () => {
  const [server, env] = await serve();
  const error = await failure(get({ ...env, HF_HUB_CACHE: join(ROOT, 'package.json') }));
  expect(error.message).toMatch(
    /the cache cannot be written \(ENOTDIR\); make it writable, or name another folder with HF_HOME/,
  );
  expect(server.transfers()).toEqual([]);
  expect(readFileSync(join(ROOT, 'package.json'), 'utf8')).toContain('touchstone');
  expect(readdirSync(env.HF_HOME!)).toEqual([]);
});
