import { lstatSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HubProgress } from '../../src/index.js';
import { loadModel } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { flat } from '../../src/tensor/tensor.js';
import { fixture } from '../support/fixtures.js';
import {
  blobsOf,
  cacheFolder,
  expectFiles,
  expectSound,
  failure,
  get,
  NAME,
  OFFLINE,
  READ,
  repository,
  shardedRepository,
  user,
} from '../support/hub.js';
import { HubServer, oidOf } from '../support/hub-server.js';

async function logitsOf(folder: string): Promise<Float32Array | Float64Array> {
  const model = loadModel(folder);
  return flat(await forward(model, [{ ids: [3, 1, 4, 1, 5], cache: model.components.newCache() }], { logits: 'all' }));
}

describe('a model of the hub', () => {
  it('comes into the cache as Python lays it out, without what is not read', async () => {
    const server = await HubServer.start();
    const files = repository();
    const commit = server.publish(NAME, files);
    const env = user(server);
    const folder = await get(env);
    expect(folder).toBe(join(cacheFolder(env), 'snapshots', commit));
    expectFiles(folder, files, READ);
    expectSound(env);
    expect(readFileSync(join(cacheFolder(env), 'refs', 'main'), 'utf8')).toBe(commit);
    expect(blobsOf(env)).toEqual(READ.map((name) => oidOf(files[name]!, name)).sort());
    expect(await logitsOf(folder)).toEqual(await logitsOf(fixture('tiny-llama-linear-bf16')));
  });

  it('costs one question when it is there, and none offline or for a commit', async () => {
    const server = await HubServer.start();
    const commit = server.publish(NAME, repository());
    const env = user(server);
    const folder = await get(env);
    server.requests.length = 0;
    expect(await get(env)).toBe(folder);
    expect(server.requests.map(({ path }) => path)).toEqual([`/api/models/${NAME}/revision/main`]);
    expect(await get({ ...env, ...OFFLINE })).toBe(folder);
    expect(await get(env, { offline: true })).toBe(folder);
    expect(await get(env, {}, `${NAME}@${commit}`)).toBe(folder);
    expect(server.requests).toHaveLength(1);
    await server.stop();
    expect(await get({ ...env, TRANSFORMERS_OFFLINE: 'yes' })).toBe(folder);
  });

  it('comes in shards', async () => {
    const server = await HubServer.start();
    const files = shardedRepository();
    server.publish(NAME, files);
    const env = user(server);
    const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
    server.fail(shards[1]!, { kind: 'cut', at: 1000 });
    await failure(get(env));
    expectSound(env);
    const said = await failure(get({ ...env, ...OFFLINE }));
    expect(said.message).toContain(`no ${shards[1]} of revision main`);
    server.heal();
    server.requests.length = 0;
    const folder = await get(env);
    expect(server.transfers()).toEqual(['bytes=1000-']);
    const names = READ.filter((name) => name !== 'model.safetensors');
    expectFiles(folder, files, [...names, 'model.safetensors.index.json', ...shards]);
    expectSound(env);
    expect(await get({ ...env, ...OFFLINE })).toBe(folder);
    expect(await logitsOf(folder)).toEqual(await logitsOf(fixture('tiny-llama-linear-bf16')));
  });

  it('reuses what did not change when its revision moves, and keeps the old snapshot until the new one is whole', async () => {
    const server = await HubServer.start();
    const files = repository();
    const old = server.publish(NAME, files);
    const env = user(server);
    const before = await get(env);
    const config = Buffer.concat([files['config.json']!, Buffer.from('\n')]);
    const commit = server.publish(NAME, { ...files, 'config.json': config });
    server.requests.length = 0;
    server.fail('config.json', { kind: 'status', status: 500 });
    await failure(get(env));
    expect(await get({ ...env, ...OFFLINE })).toBe(before);
    server.heal();
    server.requests.length = 0;
    const folder = await get(env);
    expect(folder).toContain(commit);
    expect(server.transfers()).toEqual(['all']);
    expect(server.transfers('config.json')).toEqual(['all']);
    expectFiles(folder, { ...files, 'config.json': config }, READ);
    expectSound(env);
    expect(await get({ ...env, ...OFFLINE })).toBe(folder);
    expect(await get({ ...env, ...OFFLINE }, {}, `${NAME}@${old}`)).toBe(before);
  });

  it('has branches, tags and references of pull requests', async () => {
    const server = await HubServer.start();
    const files = repository();
    server.publish(NAME, files);
    const other = { ...files, 'config.json': Buffer.from('{ }') };
    for (const revision of ['v1.0', 'refs/pr/1']) {
      const commit = server.publish(NAME, other, revision);
      const env = user(server);
      const folder = await get(env, {}, `${NAME}@${revision}`);
      expect(folder).toContain(commit);
      expect(readFileSync(join(cacheFolder(env), 'refs', revision), 'utf8')).toBe(commit);
      expect(await get({ ...env, ...OFFLINE }, { revision })).toBe(folder);
      expect((await failure(get({ ...env, ...OFFLINE }))).message).toContain('nothing of revision main');
    }
  });

  it('may have an old name without an owner', async () => {
    const server = await HubServer.start();
    server.publish('gpt2', repository());
    const env = user(server);
    expect(await get(env, {}, 'gpt2')).toContain(join('hub', 'models--gpt2', 'snapshots'));
  });

  it('tells how far it has come, in bytes and files', async () => {
    const server = await HubServer.start();
    const files = shardedRepository();
    server.publish(NAME, files);
    const env = user(server);
    const shard = 'model-00001-of-00002.safetensors';
    server.fail(shard, { kind: 'cut', at: 5000 });
    await failure(get(env, { retries: 0 }));
    server.heal();
    const events: HubProgress[] = [];
    await get(env, { progress: (event) => events.push(event) });
    const total = files[shard]!.length + files['model-00002-of-00002.safetensors']!.length;
    expect(events[0]).toEqual({
      file: shard,
      received: 5000,
      total: files[shard]!.length,
      resumedFrom: 5000,
      files: { done: 0, total: 2 },
      bytes: { done: 5000, total },
    });
    expect(events.at(-1)).toMatchObject({
      resumedFrom: 0,
      files: { done: 2, total: 2 },
      bytes: { done: total, total },
    });
    const done = events.map(({ bytes }) => bytes.done);
    expect(done).toEqual([...done].sort((a, b) => a - b));
  });

  it('is made of hard links or copies where there are no symbolic links', async () => {
    const server = await HubServer.start();
    const files = repository();
    server.publish(NAME, files);
    const env = user(server, { HF_HUB_DISABLE_SYMLINKS: '1' });
    const folder = await get(env);
    expectFiles(folder, files, READ);
    for (const name of READ) expect(lstatSync(join(folder, name)).isSymbolicLink()).toBe(false);
    expect(await get({ ...env, ...OFFLINE })).toBe(folder);
  });

  it('prints nothing', async () => {
    const server = await HubServer.start();
    server.publish(NAME, repository());
    const kept = { ...console };
    const said: unknown[] = [];
    for (const name of ['debug', 'log', 'info', 'warn', 'error'] as const) console[name] = (...all) => said.push(all);
    try {
      await get(user(server));
    } finally {
      Object.assign(console, kept);
    }
    expect(said).toEqual([]);
  });
});

describe('the cache', () => {
  it('serves where nothing can be written down', async () => {
    const server = await HubServer.start();
    server.publish(NAME, repository());
    const env = user(server);
    const folder = await get(env);
    rmSync(join(cacheFolder(env), 'refs'), { recursive: true });
    writeFileSync(join(cacheFolder(env), 'refs'), 'in the way');
    expect(await get(env)).toBe(folder);
  });

  it('gets back what was removed from it', async () => {
    const server = await HubServer.start();
    const files = repository();
    server.publish(NAME, files);
    const env = user(server);
    const folder = await get(env);
    const blob = join(cacheFolder(env), 'blobs', oidOf(files['model.safetensors']!, 'model.safetensors'));
    rmSync(blob);
    expect((await failure(get({ ...env, ...OFFLINE }))).message).toContain('no model.safetensors of revision main');
    server.requests.length = 0;
    expect(await get(env)).toBe(folder);
    expect(server.transfers()).toEqual(['all']);
    // A blob that someone cut short is not believed either, once its link is gone.
    writeFileSync(blob, 'short');
    rmSync(join(folder, 'model.safetensors'));
    await get(env);
    expectFiles(folder, files, READ);
  });
});
