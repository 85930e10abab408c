import { mkdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { modelFolder } from '../../src/checkpoint/hub/model-folder.js';
import { temporaryFolder } from '../support/fixtures.js';
import {
  blobsOf,
  expectFiles,
  expectSound,
  failure,
  get,
  NAME,
  OFFLINE,
  READ,
  repository,
  user,
} from '../support/hub.js';
import { HubServer } from '../support/hub-server.js';

describe('what is a folder', () => {
  it('is never looked for on the hub', async () => {
    const server = await HubServer.start();
    const env = user(server);
    const folder = temporaryFolder();
    const before = process.cwd();
    process.chdir(folder);
    try {
      mkdirSync('owner/name', { recursive: true });
      mkdirSync('gpt2');
      for (const path of ['owner/name', 'gpt2', folder, './gpt2']) expect(await get(env, {}, path)).toBe(path);
    } finally {
      process.chdir(before);
    }
    expect(server.requests).toEqual([]);
  });

  it.each([
    './x',
    '../owner/name',
    '/no/such',
    '~/x',
    'a/b/c',
    'owner/',
    '/name',
    'a--b/c',
    'own er/x',
    'x.git',
    'a/b@../x',
  ])('%s can be nothing else', async (path) => {
    const folder = modelFolder(path, { fetch: () => Promise.reject(new Error('asked')) });
    await expect(folder).rejects.toThrow(`${path}: there is no such folder; expected a checkpoint folder, or a model`);
  });

  it('has no revision that leads out of the cache', async () => {
    await expect(modelFolder(NAME, { revision: '../../x' })).rejects.toThrow('expected a branch, a tag or a commit');
    await expect(modelFolder(`${NAME}@a`, { revision: 'b' })).rejects.toThrow('names another revision than b');
  });
});

describe('a repository that cannot be read', () => {
  it.each<[what: string, files: Record<string, string>, message: RegExp]>([
    [
      'without safetensors',
      { 'config.json': '', 'pytorch_model.bin': '', 'model.gguf': '', 'tokenizer.json': '' },
      /no model.safetensors; it has pytorch_model.bin, model.gguf; expected/,
    ],
    [
      'with adapters alone',
      { 'config.json': '', 'adapter_model.safetensors': '', 'tokenizer.json': '' },
      /no model.safetensors; it has adapter_model.safetensors;/,
    ],
    [
      'with a SentencePiece model alone',
      { 'config.json': '', 'model.safetensors': '', 'tokenizer.model': '', 'tokenizer_config.json': '' },
      /no tokenizer.json; it has tokenizer.model, tokenizer_config.json;/,
    ],
    ['without a config', { 'README.md': '', 'a.gguf': '\u001b' }, /no config.json; it has a.gguf;/],
    ['without anything', { 'README.md': '' }, /no config.json; expected/],
  ])('%s is refused with what it has', async (_, files, message) => {
    const server = await HubServer.start();
    server.publish(NAME, Object.fromEntries(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)])));
    const env = user(server);
    const error = await failure(get(env));
    expect(error.message).toMatch(message);
    expect(error.reason).toBe('unfit');
    expect(server.transfers()).toEqual([]);
    expect(blobsOf(env)).toEqual([]);
  });

  it('may lack a tokenizer where none is needed', async () => {
    const server = await HubServer.start();
    const { 'tokenizer.json': _, ...files } = repository();
    server.publish(NAME, files);
    const env = user(server);
    const folder = await get(env, { need: 'logits' });
    expectFiles(
      folder,
      files,
      READ.filter((name) => name !== 'tokenizer.json'),
    );
    expect((await failure(get({ ...env, ...OFFLINE }))).message).toContain('no tokenizer.json of revision main');
    expect(await get({ ...env, ...OFFLINE }, { need: 'logits' })).toBe(folder);
  });

  it.each([
    '../../escaped.safetensors',
    '/tmp/x.safetensors',
    'a\\b.safetensors',
    'https://x/y.safetensors',
    '.safetensors',
  ])('with the shard %s leaves nothing behind', async (shard) => {
    const server = await HubServer.start();
    const { 'model.safetensors': weights, ...files } = repository();
    const index = Buffer.from(JSON.stringify({ weight_map: { a: shard } }));
    server.publish(NAME, { ...files, 'model.safetensors.index.json': index, [shard]: weights! });
    const env = user(server);
    await expect(get(env)).rejects.toThrow(`the shard ${JSON.stringify(shard)} is not a plain file name`);
    expect(server.transfers('model.safetensors.index.json')).toEqual(['all']);
    expectSound(env);
  });
});
