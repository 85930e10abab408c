/** The snapshot of a model in the cache: found there, or completed from the hub. */
import { join } from 'node:path';
import { HubError } from '../../errors.js';
import { INDEX } from '../shard-index.js';
import { commitOf, listedFiles, type ModelCache, place, snapshotFolder, writeRef } from './cache.js';
import type { HubClient } from './client.js';
import { download, hasBlob } from './download.js';
import { isCommit } from './name.js';
import { filesOf, type RemoteFile, type Repository, repositoryOf } from './repository.js';
import { type ModelNeed, missingOf, shardsOf, wantedOf } from './wanted.js';

/** How far a download has come. */
export interface HubProgress {
  /** The file that is being received. */
  readonly file: string;
  /** Its bytes that are there. */
  readonly received: number;
  /** Its bytes in all. */
  readonly total: number;
  /** Its bytes that were there from an earlier download. */
  readonly resumedFrom: number;
  /** Files of this download, and those that are there and verified. */
  readonly files: { readonly done: number; readonly total: number };
  /** Bytes of all files of this download, and those that are there. */
  readonly bytes: { readonly done: number; readonly total: number };
}

export interface SnapshotOptions {
  readonly need: ModelNeed;
  readonly progress: (event: HubProgress) => void;
  readonly warn: (message: string) => void;
}

/** The folder of a whole snapshot. @throws HubError */
export async function snapshotOf(client: HubClient, cache: ModelCache, options: SnapshotOptions): Promise<string> {
  const { model, settings } = client;
  const known = commitOf(cache, model.revision);
  const missing =
    known === null ? null : missingOf(snapshotFolder(cache, known), listedFiles(cache, known), options.need);
  const whole = known !== null && missing === null ? snapshotFolder(cache, known) : null;
  if (whole !== null && (settings.offline || isCommit(model.revision))) return whole;
  if (settings.offline) throw absent(client, cache, missing);
  let repository: Repository;
  try {
    repository = await repositoryOf(client, whole === null ? client.retries : 0);
  } catch (error) {
    if (whole === null || !(error instanceof HubError) || error.reason === 'no-revision') throw error;
    options.warn(`${error.message.replace(/\.$/, '')}; the copy in the cache is used.`);
    return whole;
  }
  return completed(client, cache, repository, options);
}

function absent({ model: { id, revision } }: HubClient, cache: ModelCache, missing: string | null): HubError {
  const state = missing === null ? `nothing of revision ${revision}` : `no ${missing} of revision ${revision}`;
  return new HubError(
    'offline',
    `${id}: there is no such folder, the cache ${cache.folder} has ${state}, and nothing is downloaded offline; run once with HF_HUB_OFFLINE=0.`,
  );
}

/**
 * Brings what is missing. A revision that was unknown is written down first, so that offline it can be said what is
 * missing; one that moved is written down last, so that its old snapshot serves until the new one is whole.
 */
async function completed(
  client: HubClient,
  cache: ModelCache,
  { commit, files }: Repository,
  options: SnapshotOptions,
): Promise<string> {
  const { id, revision } = client.model;
  const folder = snapshotFolder(cache, commit);
  const wanted = wantedOf(files, id, options.need);
  if (missingOf(folder, files, options.need) !== null) {
    if (commitOf(cache, revision) === null) await writeRef(cache, revision, commit);
    await bring(client, cache, commit, wanted, options);
  }
  // A cache that only can be read serves as well.
  await writeRef(cache, revision, commit).catch(() => {});
  return folder;
}

async function bring(
  client: HubClient,
  cache: ModelCache,
  commit: string,
  wanted: readonly string[],
  { progress }: SnapshotOptions,
): Promise<void> {
  const names = [...wanted];
  if (names.includes(INDEX)) {
    // Its shards are known when it is there; it takes part in the count like all others.
    const [index] = await filesOf(client, commit, [INDEX]);
    const blob = join(cache.blobs, index!.oid);
    if (!(await hasBlob(blob, index!))) await download(client, commit, index!, blob, () => {});
    names.splice(names.indexOf(INDEX), 1, INDEX, ...shardsOf(blob));
  }
  const files = await filesOf(client, commit, names);
  const absent = await without(files, (file) => hasBlob(join(cache.blobs, file.oid), file));
  const report = reporter(absent, progress);
  for (const file of files) {
    const blob = join(cache.blobs, file.oid);
    if (absent.includes(file)) {
      await download(client, commit, file, blob, report.received(file));
      report.done(file);
    }
    await place(cache, commit, file.path, file.oid);
  }
}

async function without(
  files: readonly RemoteFile[],
  has: (file: RemoteFile) => Promise<boolean>,
): Promise<RemoteFile[]> {
  const there = await Promise.all(files.map(has));
  return files.filter((_, i) => !there[i]);
}

/** Counts over all files. */
function reporter(files: readonly RemoteFile[], progress: (event: HubProgress) => void) {
  const total = files.reduce((sum, { size }) => sum + size, 0);
  let [finished, before] = [0, 0];
  let last = 0;
  const event = ({ path, size }: RemoteFile, received: number, resumedFrom: number): void => {
    last = resumedFrom;
    progress({
      file: path,
      received,
      total: size,
      resumedFrom,
      files: { done: finished, total: files.length },
      bytes: { done: before + received, total },
    });
  };
  return {
    received: (file: RemoteFile) => (received: number, resumedFrom: number) => event(file, received, resumedFrom),
    done: (file: RemoteFile): void => {
      finished += 1;
      event(file, file.size, last);
      before += file.size;
    },
  };
}
