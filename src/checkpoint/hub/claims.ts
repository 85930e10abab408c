/**
 * Who works on a partial file. Nobody does on `OID.incomplete` (older Pythons go on from it too); whoever does first
 * renames it to a name of its own, `OID.PID-HOST-RANDOM.incomplete`, so two processes never write to one file. No lock
 * is needed: one that is not honoured, as on some network file systems, costs a second download and no more.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';

const HOUR = 3_600_000;
/** Whoever has not written for so long, in milliseconds, is not waited for. */
const PATIENCE = 60_000;

interface Leftover {
  readonly path: string;
  readonly size: number;
  /** Milliseconds since it was written to. */
  readonly age: number;
  readonly owner: Owner | null;
}

interface Owner {
  readonly pid: number;
  readonly host: string;
}

const HERE = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);

/** The partial file of a blob that nobody works on. */
function restingPath(blob: string): string {
  return `${blob}.incomplete`;
}

/** A path of one's own for the blob's partial file, with what was left of an earlier one that nobody works on. */
export async function claim(blob: string): Promise<string> {
  const path = `${blob}.${process.pid}-${HERE}-${randomBytes(4).toString('hex')}.incomplete`;
  const free = (await leftovers(blob)).filter((left) => !isOwned(left)).sort((a, b) => b.size - a.size);
  let claimed = false;
  for (const left of free) {
    if (claimed) await rm(left.path, { force: true });
    else claimed = await rename(left.path, path).then(isDone, isGone); // gone: someone else was faster
  }
  return path;
}

/** Leaves a partial file to whoever goes on with it. */
export async function release(path: string, blob: string): Promise<void> {
  const resting = restingPath(blob);
  const [own, other] = [await sizeOf(path), await sizeOf(resting)];
  if (own === 0 || other > own) await rm(path, { force: true });
  else await rename(path, resting);
}

/** The bytes that another download under way has, here or in another process of this machine; null if there is none. */
export async function underWay(blob: string): Promise<number | null> {
  const active = (left: Leftover): boolean => isOwned(left) && left.owner?.host === HERE && left.age < PATIENCE;
  return (await leftovers(blob)).find(active)?.size ?? null;
}

/** Of a process that lives, as far as one can see from here; nobody needs an hour between two writes. */
function isOwned({ owner, age }: Leftover): boolean {
  if (owner === null || age > HOUR) return false;
  return owner.host !== HERE || lives(owner.pid);
}

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function leftovers(blob: string): Promise<Leftover[]> {
  const found: Leftover[] = [];
  for (const name of await readdir(dirname(blob)).catch(() => [])) {
    const owner = ownerOf(name, basename(blob));
    if (owner === undefined) continue;
    const path = join(dirname(blob), name);
    const state = await stat(path).catch(() => null);
    if (state?.isFile()) found.push({ path, size: state.size, age: Date.now() - state.mtimeMs, owner });
  }
  return found;
}

/** Null where it is nobody's; undefined where the file is none of ours. */
function ownerOf(name: string, oid: string): Owner | null | undefined {
  if (name === restingPath(oid)) return null;
  const match = name.startsWith(`${oid}.`)
    ? /^(\d+)-([0-9a-f]{8})-[0-9a-f]{8}\.incomplete$/.exec(name.slice(oid.length + 1))
    : null;
  return match ? { pid: Number(match[1]), host: match[2]! } : undefined;
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => null))?.size ?? 0;
}

function isDone(): boolean {
  return true;
}

function isGone(error: NodeJS.ErrnoException): boolean {
  if (error.code !== 'ENOENT') throw error;
  return false;
}
