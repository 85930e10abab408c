/** A cache of one's own, and a repository of real files to fill it with. */
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type HubOptions, modelFolder } from '../../src/checkpoint/hub/model-folder.js';
import { HubError } from '../../src/errors.js';
import { copyOf, shard } from './checkpoint.js';
import { fixture, temporaryFolder } from './fixtures.js';
import { type HubServer, oidOf } from './hub-server.js';

export const NAME = 'owner/name';
const CHECKPOINT = 'tiny-llama-linear-bf16';

function filesIn(folder: string): Record<string, Buffer> {
  const names = readdirSync(folder).filter((name) => !name.startsWith('golden'));
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name))]));
}

/** A checkpoint with a tokenizer, and what else lies around in repositories. */
export function repository(): Record<string, Buffer> {
  const { 'tokenizer.json': tokenizer, 'tokenizer_config.json': config } = filesIn(fixture('austen-llama'));
  return {
    'README.md': Buffer.from('# A model\n'),
    'pytorch_model.bin': Buffer.from('weights in another form'),
    'onnx/model.onnx': Buffer.from('weights in another form'),
    ...filesIn(fixture(CHECKPOINT)),
    'tokenizer.json': tokenizer!,
    'tokenizer_config.json': config!,
  };
}

/** The same with its weights in two shards. */
export function shardedRepository(): Record<string, Buffer> {
  const { 'model.safetensors': _, ...rest } = repository();
  const folder = copyOf(CHECKPOINT);
  shard(folder);
  return { ...rest, ...filesIn(folder) };
}

/** Of `repository`, those that are read. */
export const READ = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];

/** The environment of a user whose cache is empty. */
export function user(server: HubServer, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { HF_HOME: temporaryFolder(), HF_ENDPOINT: server.endpoint, ...more };
}

export const OFFLINE = { HF_HUB_OFFLINE: '1' };

/** Settings that make a silent server fail soon. */
export const IMPATIENT = { HF_HUB_DOWNLOAD_TIMEOUT: '0.1', HF_HUB_ETAG_TIMEOUT: '0.1' };

export function get(env: NodeJS.ProcessEnv, options: HubOptions = {}, model = NAME): Promise<string> {
  return modelFolder(model, { env, retryDelay: 1, ...options });
}

/** What is said of a download that must fail. */
export async function failure(download: Promise<unknown>): Promise<HubError> {
  const error = await download.then(
    () => new Error('expected it to fail'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof HubError)) throw error;
  expect(error.message).toMatch(/^[^\n]+\.$/);
  expect(error.message, 'one sentence').not.toMatch(/\. [A-Z]|undefined|null|\[object/);
  return error;
}

export function cacheFolder(env: NodeJS.ProcessEnv, id = NAME): string {
  return join(env.HF_HOME!, 'hub', `models--${id.replace('/', '--')}`);
}

/** Names of the blobs and partial files of a model. */
export function blobsOf(env: NodeJS.ProcessEnv): string[] {
  const folder = join(cacheFolder(env), 'blobs');
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

/**
 * Holds a cache to what must be true at any time: blobs are whole, snapshots are links to blobs, nobody's temporary
 * files lie around, and each partial file waits to be gone on with.
 */
export function expectSound(env: NodeJS.ProcessEnv): void {
  const folder = cacheFolder(env);
  for (const name of blobsOf(env)) {
    expect(name).toMatch(/^([0-9a-f]{40}|[0-9a-f]{64})(\.incomplete)?$/);
    if (name.endsWith('.incomplete')) continue;
    const bytes = readFileSync(join(folder, 'blobs', name));
    expect(name).toBe(oidOf(bytes, name.length === 64 ? 'x.safetensors' : 'x'));
  }
  if (!existsSync(folder)) return;
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  expect(files.filter((name) => name.endsWith('.tmp'))).toEqual([]);
  for (const name of files.filter((each) => /^snapshots\/[^/]+\/./.test(each))) {
    expect(readlinkSync(join(folder, name))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]+$/);
    expect(statSync(join(folder, name)).isFile()).toBe(true);
  }
}

/** Holds a snapshot to the files of a repository. */
export function expectFiles(folder: string, files: Record<string, Buffer>, names: readonly string[]): void {
  expect(readdirSync(folder).sort()).toEqual([...names].sort());
  for (const name of names) expect(readFileSync(join(folder, name)).equals(files[name]!), name).toBe(true);
}
