import { mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { hubModelOf } from '../../src/checkpoint/hub/name.js';
import { settingsOf } from '../../src/checkpoint/hub/settings.js';
import { UsageError } from '../../src/errors.js';
import { temporaryFolder } from '../support/fixtures.js';

describe('the environment', () => {
  it.each<[env: NodeJS.ProcessEnv, cache: string]>([
    [{}, join(homedir(), '.cache/huggingface/hub')],
    [{ HOME: '/home/u' }, '/home/u/.cache/huggingface/hub'],
    [{ XDG_CACHE_HOME: '/xdg' }, '/xdg/huggingface/hub'],
    [{ XDG_CACHE_HOME: '/xdg', HF_HOME: '/hf' }, '/hf/hub'],
    [{ HF_HOME: '/hf', HUGGINGFACE_HUB_CACHE: '/old' }, '/old'],
    [{ HF_HOME: '/hf', HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '/new' }, '/new'],
    [{ HOME: '/home/u', HF_HOME: '~/hf' }, '/home/u/hf/hub'],
    [{ DISK: '/big', HF_HOME: '$DISK/hf' }, '/big/hf/hub'],
    [{ DISK: '/big', HF_HUB_CACHE: '$\u007bDISK}/x/$NONE' }, '/big/x/$NONE'],
    [{ HF_HOME: '', HOME: '/home/u' }, '/home/u/.cache/huggingface/hub'],
  ])('%o has its cache in %s', (env, cache) => {
    expect(settingsOf(env).cache).toBe(cache);
  });

  it.each<[env: NodeJS.ProcessEnv, offline: boolean]>([
    [{}, false],
    [{ HF_HUB_OFFLINE: '1' }, true],
    [{ HF_HUB_OFFLINE: 'yes' }, true],
    [{ HF_HUB_OFFLINE: '0' }, false],
    [{ TRANSFORMERS_OFFLINE: 'True' }, true],
    [{ HF_HUB_OFFLINE: '0', TRANSFORMERS_OFFLINE: '1' }, false],
  ])('%o is offline: %s', (env, offline) => {
    expect(settingsOf(env).offline).toBe(offline);
  });

  it('names the hub', () => {
    expect(settingsOf({}).endpoint).toBe('https://huggingface.co');
    expect(settingsOf({ HF_ENDPOINT: 'http://mirror/hf//' }).endpoint).toBe('http://mirror/hf');
  });

  it('gives the times to wait', () => {
    expect(settingsOf({})).toMatchObject({ answerTimeout: 10_000, silence: 10_000 });
    const env = { HF_HUB_ETAG_TIMEOUT: '3', HF_HUB_DOWNLOAD_TIMEOUT: '60' };
    expect(settingsOf(env)).toMatchObject({ answerTimeout: 3000, silence: 60_000 });
  });

  it('gives the token, or the file of a login does', () => {
    const home = temporaryFolder();
    const elsewhere = join(home, 'else', 'token');
    const env = { HF_HOME: home };
    expect(settingsOf(env).token).toBeNull();
    writeFileSync(join(home, 'token'), 'hf_login\r\n');
    mkdirSync(join(home, 'else'));
    writeFileSync(elsewhere, 'hf_else');
    expect(settingsOf(env).token).toBe('hf_login');
    expect(settingsOf({ ...env, HF_TOKEN_PATH: elsewhere }).token).toBe('hf_else');
    expect(settingsOf({ ...env, HUGGING_FACE_HUB_TOKEN: 'hf_old' }).token).toBe('hf_old');
    expect(settingsOf({ ...env, HUGGING_FACE_HUB_TOKEN: 'hf_old', HF_TOKEN: ' hf_new\n' }).token).toBe('hf_new');
    expect(settingsOf({ ...env, HF_TOKEN: 'hf_new', HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }).token).toBeNull();
  });

  it.each<[env: NodeJS.ProcessEnv, message: string]>([
    [{ HF_ENDPOINT: 'huggingface.co' }, 'HF_ENDPOINT = "huggingface.co": expected an address'],
    [{ HF_ENDPOINT: 'file:///etc' }, 'HF_ENDPOINT = "file:///etc": expected an address'],
    [{ HF_TOKEN: 'hf_a b' }, 'HF_TOKEN: expected a token of the hub'],
    [{ HF_HUB_ETAG_TIMEOUT: 'soon' }, 'HF_HUB_ETAG_TIMEOUT = "soon": expected a number of seconds'],
  ])('%o is refused', (env, message) => {
    expect(() => settingsOf(env)).toThrow(UsageError);
    expect(() => settingsOf(env)).toThrow(message);
  });

  it('is not quoted where a token is wrong', () => {
    expect(() => settingsOf({ HF_TOKEN: 'hf_secret x' })).toThrow(/^(?!.*secret)/);
    expect(() => settingsOf({ HF_ENDPOINT: 'http://me:secret@mirror' })).toThrow(/^(?!.*secret)HF_ENDPOINT: expected/);
  });
});

describe('a name', () => {
  it.each<[text: string, id: string, revision: string]>([
    ['gpt2', 'gpt2', 'main'],
    ['meta-llama/Llama-3.2-1B', 'meta-llama/Llama-3.2-1B', 'main'],
    ['a/b@v1.0', 'a/b', 'v1.0'],
    ['a/b@refs/pr/12', 'a/b', 'refs/pr/12'],
    ['a/b@feature/x_y', 'a/b', 'feature/x_y'],
  ])('%s', (text, id, revision) => {
    expect(hubModelOf(text)).toEqual({ id, revision });
  });

  // Whatever is typed becomes folders of the cache, and a part of an address.
  const pieces = fc.constantFrom(
    'a',
    '..',
    '.',
    '/',
    '@',
    '-',
    '_',
    '\\',
    '~',
    'B1',
    ' ',
    '%2e',
    '\u0000',
    'é',
    ':',
    '?',
    '#',
  );
  test.prop([fc.array(pieces, { maxLength: 8 }).map((all) => all.join(''))])('never leads elsewhere', (text) => {
    const model = hubModelOf(text);
    if (model === null) return;
    for (const part of [...model.id.split('/'), ...model.revision.split('/')]) {
      expect(part).toMatch(/^[\w.+-]+$/);
      expect(part).not.toMatch(/^\.|\.\./);
    }
    expect(model.id.split('/').length).toBeLessThanOrEqual(2);
  });
});
