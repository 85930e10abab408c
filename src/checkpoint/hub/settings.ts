/** What the environment says about the hub, read as Python's huggingface_hub reads it (its constants.py). */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { UsageError } from '../../errors.js';

/** Variables by name, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** The folder that holds a folder of each model. */
  readonly cache: string;
  readonly token: string | null;
  readonly offline: boolean;
  /** Whether snapshots may be made of symbolic links. */
  readonly links: boolean;
  /** Milliseconds that an answer about files may take. */
  readonly answerTimeout: number;
  /** Milliseconds that a download may be silent. */
  readonly silence: number;
}

const ENDPOINT = 'https://huggingface.co';

/** @throws UsageError naming the variable that makes no sense */
export function settingsOf(env: Environment): HubSettings {
  const home = expanded(env.HF_HOME || join(env.XDG_CACHE_HOME || join(homeOf(env), '.cache'), 'huggingface'), env);
  const cache = expanded(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub'), env);
  return {
    endpoint: endpointOf(env),
    cache: resolve(cache),
    token: isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN) ? null : tokenOf(env, home),
    offline: isTrue(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
    links: !isTrue(env.HF_HUB_DISABLE_SYMLINKS),
    answerTimeout: secondsOf(env, 'HF_HUB_ETAG_TIMEOUT') * 1000,
    silence: secondsOf(env, 'HF_HUB_DOWNLOAD_TIMEOUT') * 1000,
  };
}

function endpointOf(env: Environment): string {
  const endpoint = (env.HF_ENDPOINT || ENDPOINT).trim().replace(/\/+$/, '');
  const url = URL.canParse(endpoint) ? new URL(endpoint) : null;
  if (url?.username || url?.password) {
    throw new UsageError('HF_ENDPOINT: expected an address without a name and a password in it; a token is HF_TOKEN.');
  }
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return endpoint;
  throw new UsageError(
    `HF_ENDPOINT = ${JSON.stringify(env.HF_ENDPOINT)}: expected an address that begins with http:// or https://.`,
  );
}

function tokenOf(env: Environment, home: string): string | null {
  const named = cleaned(env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN);
  const file = expanded(env.HF_TOKEN_PATH || join(home, 'token'), env);
  const token = named ?? cleaned(textOf(file));
  if (token === null || /^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageError(
    `${named === null ? file : 'HF_TOKEN'}: expected a token of the hub (hf_...), got a text with characters that no token has.`,
  );
}

function cleaned(token: string | undefined): string | null {
  return token?.replace(/[\r\n]/g, '').trim() || null;
}

/** Nobody has to have a token: a file that cannot be read counts as none. */
/** A small file's text; undefined where it cannot be read. */
export function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function secondsOf(env: Environment, name: string): number {
  const text = env[name]?.trim();
  if (!text) return 10;
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds >= 0) return seconds || 10;
  throw new UsageError(`${name} = ${JSON.stringify(env[name])}: expected a number of seconds.`);
}

function isTrue(text: string | undefined): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes((text ?? '').toUpperCase());
}

function homeOf(env: Environment): string {
  return env.HOME || homedir();
}

/** A leading `~` and variables of the environment, as Python's expanduser and expandvars replace them. */
function expanded(path: string, env: Environment): string {
  const absolute = path === '~' || /^~[/\\]/.test(path) ? homeOf(env) + path.slice(1) : path;
  return absolute.replace(/\$(?:\{(\w+)\}|(\w+))/g, (all, braced, bare) => env[braced ?? bare] ?? all);
}
