/** What is said of an answer that is no success, and of connections that fail: one sentence each. */
import { HubError, type HubReason } from '../../errors.js';
import type { HubModel } from './name.js';

/** A fault that asking again may cure. */
export class PassingFault extends HubError {
  /** Milliseconds that the server asks to wait; null where it does not say. */
  readonly retryAfter: number | null;

  constructor(reason: HubReason, message: string, retryAfter: number | null = null) {
    super(reason, message);
    this.retryAfter = retryAfter;
  }
}

/** Whom a request went to, what for, and by whom. */
export interface Asked {
  readonly model: HubModel;
  readonly endpoint: string;
  readonly token: string | null;
  /** The file, or null where the question is about the repository. */
  readonly file: string | null;
}

/** The error for an answer with a status that is no success. */
export function faultOfAnswer(response: Response, asked: Asked): HubError {
  const { status, headers } = response;
  const code = headers.get('x-error-code');
  if (status === 429 || status === 408 || status >= 500) return passingFault(response, asked);
  if (status === 401 || status === 403) return denial(status, code, asked);
  if (status === 404) return absence(code, asked);
  return new HubError(
    'no-hub',
    `${whatOf(asked)}: ${asked.endpoint} answers with status ${status}; check HF_ENDPOINT.`,
  );
}

function passingFault({ status, headers }: Response, asked: Asked): PassingFault {
  const wait = waitOf(headers.get('retry-after'));
  if (status !== 429) {
    return new PassingFault(
      'failing',
      `${whatOf(asked)}: ${asked.endpoint} fails (status ${status}); ${later(asked)}`,
      wait,
    );
  }
  const time = wait === null ? '' : ` and to wait for ${Math.ceil(wait / 1000)} s`;
  const more = asked.token === null ? ', or give a token as HF_TOKEN, which allows more' : '';
  return new PassingFault(
    'failing',
    `${whatOf(asked)}: ${asked.endpoint} asks for fewer requests${time} (status 429); try again later${more}.`,
    wait,
  );
}

function later({ file }: Asked): string {
  return file === null ? 'try again later.' : 'try again later: what was received is kept.';
}

/** Milliseconds of a Retry-After header, which gives seconds or a date. */
function waitOf(text: string | null): number | null {
  if (text === null) return null;
  const milliseconds = /^\s*\d+\s*$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : null;
}

/** The hub answers 401 for models that do not exist as well, lest anyone could find out the names of private ones. */
function denial(status: number, code: string | null, { model, endpoint, token }: Asked): HubError {
  const page = `${endpoint}/${model.id}`;
  const which = token === null ? 'a token that may read it as HF_TOKEN' : 'another token as HF_TOKEN';
  if (code === 'GatedRepo') {
    const give =
      token === null ? 'and give a token of your account as HF_TOKEN' : 'with the account of the token in use';
    return new HubError(
      'denied',
      `${model.id}: the model is gated (status ${status}); accept its licence at ${page} ${give}.`,
    );
  }
  const why =
    token === null
      ? 'there is no such model, or it is private or gated'
      : 'the token in use is not valid or may not read it, or there is no such model';
  return new HubError(
    'denied',
    `${model.id}: ${endpoint} refuses it (status ${status}): ${why}; check the name, give ${which}, or accept a licence at ${page}.`,
  );
}

function absence(code: string | null, { model, endpoint, file }: Asked): HubError {
  if (code === 'RevisionNotFound') {
    return new HubError(
      'no-revision',
      `${model.id}: ${endpoint} has no revision ${model.revision} of it; expected a branch, a tag or a commit.`,
    );
  }
  if (file !== null)
    return new HubError('no-file', `${model.id}: ${endpoint} has no file ${file} at ${model.revision}.`);
  return new HubError(
    'no-model',
    `${model.id}: there is no such folder, and no such model at ${endpoint}; check the name.`,
  );
}

/** Before any answer: nobody there, or nobody who can be trusted. */
const UNREACHABLE =
  /^(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH|ENETDOWN|bad port|UND_ERR_CONNECT_TIMEOUT|EPROTO|ERR_TLS_.*|ERR_SSL_.*|CERT_.*|.*_CERT.*|UNABLE_TO_.*)$/;

/** The error for a connection that was not made, or broke. */
export function faultOfConnection(error: unknown, asked: Asked): PassingFault {
  const code = codeOf(error);
  if (UNREACHABLE.test(code)) {
    // Whoever meant a folder is told so too.
    const first = asked.file === null ? 'there is no such folder here, and ' : '';
    return new PassingFault(
      'unreachable',
      `${whatOf(asked)}: ${first}${asked.endpoint} cannot be reached (${code}); check the name, the network and HF_ENDPOINT.`,
    );
  }
  return new PassingFault(
    'failing',
    `${whatOf(asked)}: the connection to ${asked.endpoint} broke (${code}); ${later(asked)}`,
  );
}

/** The error for a server that says nothing for too long. */
export function faultOfSilence(milliseconds: number, variable: string, asked: Asked): PassingFault {
  return new PassingFault(
    'failing',
    `${whatOf(asked)}: ${asked.endpoint} was silent for ${milliseconds / 1000} s; ${later(asked).slice(0, -1)}, and ${variable} sets another number of seconds.`,
  );
}

/** The error for a page where a file was asked for. */
export function faultOfPage(asked: Asked): PassingFault {
  return new PassingFault(
    'failing',
    `${whatOf(asked)}: ${asked.endpoint} sends a page (text/html) in place of the file; check the network, which may want a login, and HF_ENDPOINT.`,
  );
}

/** The error for a body that ends early. */
export function faultOfShortFile(received: number, total: number, asked: Asked): PassingFault {
  return new PassingFault(
    'failing',
    `${whatOf(asked)}: ${asked.endpoint} sent ${received} of ${total} bytes and no more; ${later(asked)}`,
  );
}

function whatOf({ model, file }: Asked): string {
  return file === null ? model.id : `${model.id}, ${file}`;
}

/** fetch wraps the reason, sometimes twice. */
function codeOf(error: unknown): string {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code === 'string') return code;
    if (at.cause === undefined) return at.message;
  }
  return String(error);
}
