/** What can go wrong between a hub and whoever downloads from it. */
import type { ServerResponse } from 'node:http';

export type Fault =
  /** The connection breaks when a file's byte `at` would be next. */
  | { readonly kind: 'cut'; readonly at: number }
  /** The connection is fine, but silent from a file's byte `at` on. */
  | { readonly kind: 'stall'; readonly at: number }
  /** The file ends at byte `at`, and the answer says that this is its length. */
  | { readonly kind: 'short'; readonly at: number }
  /** Bytes that nobody asked for follow. */
  | { readonly kind: 'long' }
  /** The bit 0 of a file's first byte is another one. */
  | { readonly kind: 'wrong' }
  | { readonly kind: 'no ranges' }
  /** Every range is said to be outside the file. */
  | { readonly kind: 'bad ranges' }
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Record<string, string> }
  | { readonly kind: 'hang' }
  /** A page of someone else, as before a login to a network. */
  | { readonly kind: 'page' };

/** @returns whether the fault is all of the answer, or that there is none */
export function sendNothing(fault: Fault, response: ServerResponse): boolean {
  if (fault.kind === 'status') response.writeHead(fault.status, fault.headers).end('no');
  else if (fault.kind === 'page') response.writeHead(200, { 'Content-Type': 'text/html' }).end('<h1>Welcome</h1>');
  else if (fault.kind !== 'hang') return false;
  return true;
}

/** Sends a file, or the range of it that was asked for, with a fault on the way. */
export function sendBytes(
  { range, method }: { readonly range: string | null; readonly method: string },
  file: Buffer,
  fault: Fault | null,
  response: ServerResponse,
): void {
  const asked = fault?.kind === 'no ranges' ? null : /^bytes=(\d+)-/.exec(range ?? '');
  const from = asked ? Number(asked[1]) : 0;
  const end = fault?.kind === 'short' ? fault.at : file.length;
  if (asked && (from >= end || fault?.kind === 'bad ranges')) return void response.writeHead(416).end();
  const body = Buffer.from(file.subarray(from, end));
  if (fault?.kind === 'wrong' && from === 0 && body.length > 0) body[0]! ^= 1;
  const sent = fault?.kind === 'long' ? Buffer.concat([body, Buffer.from('more')]) : body;
  response.setHeader('Content-Length', sent.length);
  if (asked) response.setHeader('Content-Range', `bytes ${from}-${end - 1}/${end}`);
  response.writeHead(asked ? 206 : 200);
  if (method === 'HEAD') return void response.end();
  if (fault?.kind !== 'cut' && fault?.kind !== 'stall') return void response.end(sent);
  const last = (): void => void (fault.kind === 'cut' && response.destroy());
  response.flushHeaders();
  response.write(sent.subarray(0, Math.max(0, fault.at - from)), () => setTimeout(last, 20));
}
