/** One file of a repository becomes a blob of the cache. */
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HubError } from '../../errors.js';
import { underWay } from './claims.js';
import { askedOf, type HubClient, patience, pause, readBytes, UnknownRange } from './client.js';
import { faultOfShortFile, PassingFault } from './faults.js';
import { PartialFile } from './partial.js';
import type { RemoteFile } from './repository.js';

/** After so many bytes, the next fault is the first again. */
const PROGRESS = 1 << 20;

/** Told of the bytes that are there, and of those that were there from an earlier attempt. */
export type Received = (received: number, resumedFrom: number) => void;

/** Whether a blob is there. One of another size is not what its name says. */
export async function hasBlob(blob: string, { size }: RemoteFile): Promise<boolean> {
  return (await stat(blob).catch(() => null))?.size === size;
}

/**
 * Downloads a file, or what is left of it, and verifies it. Whatever happens, the blob is there whole or not at all,
 * and what was received is kept unless it is wrong.
 * @throws HubError; the signal's reason; an error of the file system
 */
export async function download(
  client: HubClient,
  commit: string,
  file: RemoteFile,
  blob: string,
  received: Received,
): Promise<void> {
  await mkdir(dirname(blob), { recursive: true });
  await others(client, file, blob, received);
  let digest = '';
  for (let attempts = 0; attempts < 2; attempts += 1) {
    if (await hasBlob(blob, file)) return;
    digest = await attempt(client, commit, file, blob, received);
    if (digest === file.oid) return;
  }
  const { model, endpoint } = askedOf(client, file.path);
  throw new HubError(
    'damaged',
    `${model.id}, ${file.path}: ${endpoint} sent bytes whose ${file.digest} is ${digest} twice, and describes a file of ${file.size} bytes with ${file.oid}; they were removed, so try again later or elsewhere (HF_ENDPOINT).`,
  );
}

/** Leaves it to another download of the same blob, as long as there is one. */
async function others(client: HubClient, file: RemoteFile, blob: string, received: Received): Promise<void> {
  while (!(await hasBlob(blob, file))) {
    const there = await underWay(blob);
    if (there === null) return;
    received(there, 0);
    await pause(250, client.signal);
  }
}

async function attempt(
  client: HubClient,
  commit: string,
  file: RemoteFile,
  blob: string,
  received: Received,
): Promise<string> {
  const partial = await PartialFile.open(blob, file, client.signal);
  try {
    await receive(client, urlOf(client, commit, file.path), file, partial, received);
    return await partial.finish();
  } catch (error) {
    await partial.keep();
    throw error;
  }
}

function urlOf({ model, settings }: HubClient, commit: string, path: string): string {
  const encoded = path.split('/').map(encodeURIComponent).join('/');
  return `${settings.endpoint}/${model.id}/resolve/${commit}/${encoded}`;
}

/** Reads until everything is there, going on after passing faults. */
async function receive(
  client: HubClient,
  url: string,
  file: RemoteFile,
  partial: PartialFile,
  received: Received,
): Promise<void> {
  let resumedFrom = partial.received;
  received(partial.received, resumedFrom);
  const begin = async (start: number): Promise<void> => {
    if (start !== partial.received) await partial.restart();
    resumedFrom = Math.min(resumedFrom, start);
  };
  const take = async (piece: Uint8Array): Promise<boolean> => {
    const more = await partial.append(piece);
    received(partial.received, resumedFrom);
    return more;
  };
  for (let failures = 0; partial.received < file.size; ) {
    const before = partial.received;
    const fault = await faultOf(client, file, partial, () => readBytes(client, file.path, url, before, begin, take));
    if (fault === null) continue;
    failures = partial.received - before >= PROGRESS ? 1 : failures + 1;
    if (failures > client.retries) throw fault;
    await patience(client, fault, failures);
  }
}

/** What kept a transfer from its end, if it may pass; null where it came to its end. */
async function faultOf(
  client: HubClient,
  file: RemoteFile,
  partial: PartialFile,
  transfer: () => Promise<void>,
): Promise<PassingFault | null> {
  try {
    await transfer();
  } catch (error) {
    if (error instanceof PassingFault) return error;
    if (!(error instanceof UnknownRange)) throw error;
    const short = shortFile(client, file, partial);
    await partial.restart();
    return short;
  }
  return partial.received < file.size ? shortFile(client, file, partial) : null;
}

function shortFile(client: HubClient, { path, size }: RemoteFile, { received }: PartialFile): PassingFault {
  return faultOfShortFile(received, size, askedOf(client, path));
}
