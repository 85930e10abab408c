/** What a repository of the hub holds, asked through @huggingface/hub. What it answers is not trusted. */
import { HubError } from '../../errors.js';
import { askedOf, type HubClient, questions } from './client.js';
import { isCommit } from './name.js';

export interface Repository {
  /** The commit that the revision names now: 40 hexadecimal digits. */
  readonly commit: string;
  /** Every file of it, by its path. */
  readonly files: ReadonlySet<string>;
}

/** A file as it must be when it has arrived. */
export interface RemoteFile {
  readonly path: string;
  readonly size: number;
  /** Its name among the blobs, which is its digest: sha256 of a large file (Git LFS), or Git's sha1 of its blob. */
  readonly oid: string;
  readonly digest: 'sha256' | 'git-sha1';
}

/** What the client's revision names now, in one request. @throws HubError */
export async function repositoryOf(client: HubClient, retries?: number): Promise<Repository> {
  const { model, settings } = client;
  const { modelInfo } = await import('@huggingface/hub');
  const info = await asHub(client, () =>
    modelInfo({
      name: model.id,
      revision: model.revision,
      hubUrl: settings.endpoint,
      additionalFields: ['sha', 'filePaths'],
      fetch: questions(client, retries),
    }),
  );
  const { sha, filePaths } = info as { sha?: unknown; filePaths?: unknown };
  if (typeof sha !== 'string' || !isCommit(sha) || !Array.isArray(filePaths)) throw noHub(client);
  return { commit: sha, files: new Set(filePaths.filter((path): path is string => typeof path === 'string')) };
}

/** Sizes and digests of some files of a commit, in the order of their names. @throws HubError */
export async function filesOf(client: HubClient, commit: string, paths: readonly string[]): Promise<RemoteFile[]> {
  const { pathsInfo } = await import('@huggingface/hub');
  const answers = await asHub(client, () =>
    pathsInfo({
      repo: { type: 'model', name: client.model.id },
      revision: commit,
      paths: [...paths],
      hubUrl: client.settings.endpoint,
      fetch: questions(client),
    }),
  );
  return paths.map((path) => {
    const found = answers.find((answer) => answer.path === path);
    if (found === undefined) {
      const { model, endpoint } = askedOf(client, path);
      throw new HubError('no-file', `${model.id}: ${endpoint} has no file ${path} at ${commit}.`);
    }
    const { size, oid, lfs } = found;
    return lfs ? checked(client, path, lfs.size, lfs.oid, 'sha256') : checked(client, path, size, oid, 'git-sha1');
  });
}

/** Digests become names of files, so nothing else may pass for one. */
function checked(
  client: HubClient,
  path: string,
  size: unknown,
  oid: unknown,
  digest: RemoteFile['digest'],
): RemoteFile {
  const pattern = digest === 'sha256' ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/;
  const sized = typeof size === 'number' && Number.isSafeInteger(size) && size >= 0;
  if (!sized || typeof oid !== 'string' || !pattern.test(oid)) throw noHub(client);
  return { path, size, oid, digest };
}

/** The library believes what it is told, and stumbles over an answer that is no hub's. */
async function asHub<T>(client: HubClient, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    client.signal?.throwIfAborted();
    throw error instanceof HubError ? error : noHub(client);
  }
}

function noHub({ model, settings }: HubClient): HubError {
  return new HubError(
    'no-hub',
    `${model.id}: what answers at ${settings.endpoint} is not a hub of models; check HF_ENDPOINT, and whether a proxy or a login page stands between.`,
  );
}
