/**
 * A hub on this machine that answers as huggingface.co does: what a revision is, sizes and digests of files, small files
 * by a redirect to itself, large ones by a redirect to another host, ranges of both, and faults on demand.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { type Fault, sendBytes, sendNothing } from './hub-faults.js';

export interface HubRequest {
  readonly host: 'hub' | 'store';
  readonly method: string;
  readonly path: string;
  /** The file that is asked for, or null for a question about a repository. */
  readonly file: string | null;
  readonly token: string | null;
  readonly range: string | null;
}

interface Commit {
  readonly id: string;
  readonly files: ReadonlyMap<string, Buffer>;
}

interface Repository {
  readonly commits: Map<string, Commit>;
  readonly refs: Map<string, string>;
  access: 'public' | 'private' | 'gated';
}

const TOKEN = 'hf_right';

export class HubServer {
  readonly requests: HubRequest[] = [];
  private readonly repositories = new Map<string, Repository>();
  private readonly faults: { file: string | null; fault: Fault; times: number }[] = [];
  private readonly hub: Server;
  private readonly store: Server;

  private constructor() {
    this.hub = createServer((request, response) => this.answer('hub', request, response));
    this.store = createServer((request, response) => this.answer('store', request, response));
  }

  /** A server that ends with the test. */
  static async start(): Promise<HubServer> {
    const server = new HubServer();
    await Promise.all(
      [server.hub, server.store].map((each) => new Promise<void>((done) => each.listen(0, '127.0.0.1', done))),
    );
    onTestFinished(() => server.stop());
    return server;
  }

  async stop(): Promise<void> {
    const ended = [this.hub, this.store].map((each) => new Promise<void>((done) => each.close(() => done())));
    for (const each of [this.hub, this.store]) each.closeAllConnections();
    await Promise.all(ended);
  }

  get endpoint(): string {
    return addressOf(this.hub);
  }

  /** Makes a commit of files, and has a revision name it. @returns the commit */
  publish(id: string, files: Record<string, Buffer>, revision = 'main'): string {
    const repository = this.repositories.get(id) ?? { commits: new Map(), refs: new Map(), access: 'public' };
    const commit = createHash('sha1')
      .update(
        id +
          Object.entries(files)
            .map(([name, bytes]) => name + oidOf(bytes))
            .join(),
      )
      .digest('hex');
    repository.commits.set(commit, { id: commit, files: new Map(Object.entries(files)) });
    repository.refs.set(revision, commit);
    this.repositories.set(id, repository);
    return commit;
  }

  protect(id: string, access: Repository['access']): void {
    this.repositories.get(id)!.access = access;
  }

  /** Lets the next answers fail: those with a file's bytes, or those about repositories (null). */
  fail(file: string | null, fault: Fault, times = Number.POSITIVE_INFINITY): void {
    this.faults.push({ file, fault, times });
  }

  heal(): void {
    this.faults.length = 0;
  }

  /** Ranges of the bytes that were asked for, of one file or of all. */
  transfers(file?: string): string[] {
    const asked = this.requests.filter((request) => isTransfer(request) && (file ?? request.file) === request.file);
    return asked.map(({ range }) => range ?? 'all');
  }

  private answer(host: HubRequest['host'], request: IncomingMessage, response: ServerResponse): void {
    const path = new URL(request.url!, 'http://x').pathname;
    const file = /\/(?:resolve(?:-cache)?|large)\/.*\/([^/]+)$/.exec(path)?.[1] ?? null;
    const token = request.headers.authorization?.replace('Bearer ', '') ?? null;
    const asked = { host, method: request.method!, path, file, token, range: request.headers.range ?? null };
    this.requests.push(asked);
    const fault = file === null || isTransfer(asked) ? this.faultOf(file) : null;
    if (fault && sendNothing(fault, response)) return;
    if (host === 'store') this.sendLarge(asked, fault, response);
    else this.sendOf(asked, fault, request, response);
  }

  private faultOf(file: string | null): Fault | null {
    const found = this.faults.find((each) => each.file === file && each.times > 0);
    if (found) found.times -= 1;
    return found?.fault ?? null;
  }

  private sendLarge(asked: HubRequest, fault: Fault | null, response: ServerResponse): void {
    // As at S3, a token of another host is refused.
    if (asked.token !== null) return void response.writeHead(400).end('Only one auth mechanism allowed');
    const [, , id, commit, name] = /^\/(large)\/(.*)\/([0-9a-f]{40})\/(.*)$/.exec(asked.path)!;
    sendBytes(asked, this.repositories.get(id!)!.commits.get(commit!)!.files.get(name!)!, fault, response);
  }

  private sendOf(asked: HubRequest, fault: Fault | null, request: IncomingMessage, response: ServerResponse): void {
    const api = /^\/api\/models\/(.+?)\/(revision|paths-info|tree)\/([^/]+)(?:\/(.+))?$/.exec(asked.path);
    const plain = /^\/api\/models\/(.+)$/.exec(asked.path);
    const resolve = /^\/(?:api\/resolve-cache\/models\/(.+?)\/([0-9a-f]{40})|(.+?)\/resolve\/([^/]+))\/(.+)$/.exec(
      asked.path,
    );
    const [id, revision] = api
      ? [api[1], api[3]]
      : resolve
        ? [resolve[1] ?? resolve[3], resolve[2] ?? resolve[4]]
        : [plain?.[1], 'main'];
    const commit = this.commitOf(id ?? '', decodeURIComponent(revision!), asked.token, response);
    if (commit === null) return;
    response.setHeader('X-Repo-Commit', commit.id);
    if (resolve) this.sendFile(asked, id!, commit, decodeURIComponent(resolve[5]!), fault, response);
    else if (api?.[2] === 'paths-info') void sendInfo(commit, request, response);
    else if (api?.[4] !== undefined)
      refuse(response, 404, 'EntryNotFound'); // a tree's folder, of which there is none
    else sendJson(response, api?.[2] === 'tree' ? [...commit.files].map(infoOf) : descriptionOf(id!, commit));
  }

  /** Null where the answer is a refusal, which is then sent. */
  private commitOf(id: string, revision: string, token: string | null, response: ServerResponse): Commit | null {
    const repository = this.repositories.get(id);
    // A stranger does not learn which private models there are.
    if (!repository) return refuse(response, token === TOKEN ? 404 : 401, 'RepoNotFound');
    if (repository.access === 'private' && token !== TOKEN) return refuse(response, 401, 'RepoNotFound');
    if (repository.access === 'gated' && token !== TOKEN)
      return refuse(response, token === null ? 401 : 403, 'GatedRepo');
    const named = repository.refs.get(revision === 'HEAD' ? 'main' : revision) ?? revision;
    return repository.commits.get(named) ?? refuse(response, 404, 'RevisionNotFound');
  }

  private sendFile(
    asked: HubRequest,
    id: string,
    commit: Commit,
    name: string,
    fault: Fault | null,
    response: ServerResponse,
  ): void {
    const bytes = commit.files.get(name);
    if (!bytes) return void refuse(response, 404, 'EntryNotFound');
    response.setHeader('ETag', `"${oidOf(bytes, name)}"`);
    if (isLarge(name)) {
      response.setHeader('X-Linked-ETag', `"${oidOf(bytes, name)}"`);
      response.setHeader('X-Linked-Size', bytes.length);
      response.writeHead(302, { Location: `${addressOf(this.store)}/large/${id}/${commit.id}/${name}` }).end();
    } else if (asked.path.startsWith('/api/')) sendBytes(asked, bytes, fault, response);
    else response.writeHead(307, { Location: `/api/resolve-cache/models/${id}/${commit.id}/${name}` }).end();
  }
}

/** Whether a request's answer is bytes of a file, not a redirect to them. */
function isTransfer({ host, method, path, file }: HubRequest): boolean {
  return method === 'GET' && file !== null && (host === 'store' || path.startsWith('/api/'));
}

/** What the hub keeps in Git LFS. */
function isLarge(name: string): boolean {
  return name.endsWith('.safetensors') || name === 'tokenizer.json';
}

/** sha256 of large files, and Git's digest of others: the name of a file's blob in the cache. */
export function oidOf(bytes: Buffer, name = ''): string {
  if (isLarge(name)) return createHash('sha256').update(bytes).digest('hex');
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

function infoOf([path, bytes]: readonly [string, Buffer]): object {
  const pointer = Buffer.from(`version https://git-lfs.github.com/spec/v1\noid sha256:${oidOf(bytes, path)}\n`);
  const lfs = { oid: oidOf(bytes, path), size: bytes.length, pointerSize: pointer.length };
  const large = { type: 'file', oid: oidOf(pointer), size: bytes.length, lfs, path };
  return isLarge(path) ? large : { type: 'file', oid: oidOf(bytes), size: bytes.length, path };
}

function descriptionOf(id: string, { id: sha, files }: Commit): object {
  const siblings = [...files.keys()].map((rfilename) => ({ rfilename }));
  return {
    _id: '0',
    id,
    sha,
    siblings,
    private: false,
    gated: false,
    downloads: 0,
    likes: 0,
    lastModified: '2026-01-01T00:00:00.000Z',
  };
}

async function sendInfo({ files }: Commit, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let text = '';
  for await (const piece of request) text += piece;
  const { paths } = JSON.parse(text) as { paths: string[] };
  sendJson(response, [...files].filter(([path]) => paths.includes(path)).map(infoOf));
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'Content-Type': 'application/json; charset=utf-8' }).end(JSON.stringify(value));
}

function refuse(response: ServerResponse, status: number, code: string): null {
  response.writeHead(status, { 'X-Error-Code': code, 'X-Error-Message': code, 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ error: code }));
  return null;
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
