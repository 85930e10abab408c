/** Where a model is: a folder as it is, or a snapshot of a model of the hub in the cache that Python's programs use. */
import { existsSync } from 'node:fs';
import { CheckpointError, HubError, UsageError } from '../../errors.js';
import { cacheOf } from './cache.js';
import type { HubClient } from './client.js';
import { type HubModel, hubModelOf, isRevision } from './name.js';
import { type Environment, type HubSettings, settingsOf } from './settings.js';
import { type HubProgress, type SnapshotOptions, snapshotOf } from './snapshot.js';
import type { ModelNeed } from './wanted.js';

export interface HubOptions {
  /** Download nothing, ask nobody; by default as HF_HUB_OFFLINE says. */
  readonly offline?: boolean | undefined;
  /** A branch, a tag or a commit, in place of `@revision`; main by default. */
  readonly revision?: string | undefined;
  /** What to read HF_HOME, HF_ENDPOINT, HF_TOKEN and the others from; the process's own by default. */
  readonly env?: Environment | undefined;
  /** What the model is needed for; by default its text, and a model without a tokenizer.json is an error. */
  readonly need?: ModelNeed | undefined;
  /** Told of every piece that arrives. */
  readonly progress?: ((event: HubProgress) => void) | undefined;
  /** Told, in one sentence, that the hub cannot be asked and the cache's copy is used. */
  readonly warn?: ((message: string) => void) | undefined;
  /** Ends a download; what was received is kept. */
  readonly signal?: AbortSignal | undefined;
  /** In place of the global one: the way through a proxy. */
  readonly fetch?: typeof fetch | undefined;
  /** How often to ask again after a fault that may pass, without progress between; 4 by default. */
  readonly retries?: number | undefined;
  /** Milliseconds before asking again for the first time, doubled each time; 500 by default. */
  readonly retryDelay?: number | undefined;
}

/**
 * A checkpoint folder: a path as it is, or `owner/name[@revision]` from the hub's cache, downloaded where it is not
 * there. What exists as a path is never looked for on the hub.
 * @throws CheckpointError if it is neither a path that exists nor a name that the hub could have
 * @throws HubError if it cannot be had from the hub; UsageError for settings that make no sense; the signal's reason
 */
export async function modelFolder(model: string, options: HubOptions = {}): Promise<string> {
  if (existsSync(model)) return model;
  const named = hubModelOf(model);
  if (named === null) {
    const page = /^https?:\/\/[^/]+\/([^/]+\/[^/?#]+)/.exec(model)?.[1];
    if (page) throw new CheckpointError(`${model}: a model of the hub is named as owner/name; give ${page}.`);
    throw new CheckpointError(
      `${model}: there is no such folder; expected a checkpoint folder, or a model of the hub as owner/name[@revision].`,
    );
  }
  const settings = settingsOf(options.env ?? process.env);
  const offline = options.offline ?? settings.offline;
  const client = clientOf(revised(named, model, options.revision), { ...settings, offline }, options);
  const cache = cacheOf(client.model, settings);
  options.signal?.throwIfAborted();
  const none = (): void => {};
  const { need = 'text', progress = none, warn = none } = options;
  try {
    return await snapshotOf(client, cache, { need, progress, warn } satisfies SnapshotOptions);
  } catch (error) {
    throw diskFault(error, cache.folder) ?? error;
  }
}

function revised(named: HubModel, model: string, revision: string | undefined): HubModel {
  if (revision === undefined) return named;
  if (!isRevision(revision)) {
    throw new UsageError(`revision ${JSON.stringify(revision)}: expected a branch, a tag or a commit.`);
  }
  if (model.includes('@') && named.revision !== revision) {
    throw new UsageError(`${model}: names another revision than ${revision}; give one of them.`);
  }
  return { id: named.id, revision };
}

function clientOf(model: HubModel, settings: HubSettings, options: HubOptions): HubClient {
  return {
    model,
    settings,
    retries: options.retries ?? 4,
    retryDelay: options.retryDelay ?? 500,
    signal: options.signal ?? null,
    fetch: options.fetch ?? fetch,
  };
}

/** What is said where the cache cannot be written; null for other errors. */
function diskFault(error: unknown, folder: string): HubError | null {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (error instanceof HubError || code === undefined || syscall === undefined) return null;
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  const what = full
    ? `there is no space left (${code}); what was received is kept, so free some`
    : `the cache cannot be written (${code}); make it writable`;
  return new HubError('disk', `${folder}: ${what}, or name another folder with HF_HOME.`);
}
