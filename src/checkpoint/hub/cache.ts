/**
 * The folder of a model in the cache, laid out as Python's huggingface_hub does: blobs named by their digests, a folder
 * of links to them for each commit, and the commits that branches and tags named last.
 */

import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, link, mkdir, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { z } from 'zod';
import { type HubModel, isCommit } from './name.js';
import { type HubSettings, textOf } from './settings.js';

export interface ModelCache {
  readonly folder: string;
  readonly blobs: string;
  /** Whether snapshots may be made of symbolic links. */
  readonly links: boolean;
}

export function cacheOf({ id }: HubModel, { cache, links }: HubSettings): ModelCache {
  const folder = join(cache, ['models', ...id.split('/')].join('--'));
  return { folder, blobs: join(folder, 'blobs'), links };
}

export function snapshotFolder({ folder }: ModelCache, commit: string): string {
  return join(folder, 'snapshots', commit);
}

/** The commit that a revision named when it was last asked for; null if nobody knows. */
export function commitOf({ folder }: ModelCache, revision: string): string | null {
  if (isCommit(revision)) return revision;
  const commit = textOf(join(folder, 'refs', revision))?.trim() ?? '';
  return isCommit(commit) ? commit : null;
}

/** Remembers the commit that a branch or a tag names. */
export async function writeRef({ folder }: ModelCache, revision: string, commit: string): Promise<void> {
  const file = join(folder, 'refs', revision);
  if (isCommit(revision) || textOf(file) === commit) return;
  await mkdir(dirname(file), { recursive: true });
  await placed(file, (beside) => writeFile(beside, commit));
}

const tree = z.object({ format_version: z.literal(1), files: z.record(z.string(), z.unknown()) });

/** The files of a commit, where Python's snapshot_download left a list of them. */
export function listedFiles({ folder }: ModelCache, commit: string): ReadonlySet<string> | null {
  try {
    const text = textOf(join(folder, 'trees', `${commit}.json`));
    const { data } = tree.safeParse(JSON.parse(text ?? 'null'));
    return data ? new Set(Object.keys(data.files)) : null;
  } catch {
    return null; // as good as none
  }
}

/** Puts a blob, which must be whole, into a commit's snapshot under its own name. */
export async function place(cache: ModelCache, commit: string, name: string, oid: string): Promise<void> {
  const file = join(snapshotFolder(cache, commit), name);
  if (existsSync(file)) return;
  const blob = join(cache.blobs, oid);
  await mkdir(dirname(file), { recursive: true });
  await placed(file, async (beside) => {
    if (cache.links && (await succeeds(symlink(relative(dirname(file), blob), beside)))) return;
    // A file system without symbolic links may have hard ones, which cost no second copy.
    const whole = await realpath(blob);
    if (!(await succeeds(link(whole, beside)))) await copyFile(whole, beside);
  });
}

/** Makes a file beside its place, and renames it: it is there whole, or not at all. */
async function placed(file: string, make: (beside: string) => Promise<void>): Promise<void> {
  const beside = `${file}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await make(beside);
    await rename(beside, file);
  } finally {
    await rm(beside, { force: true });
  }
}

async function succeeds(action: Promise<void>): Promise<boolean> {
  return action.then(
    () => true,
    () => false,
  );
}
