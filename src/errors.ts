/**
 * What went wrong, for the person at the keyboard: one sentence with what (file, tensor, key or flag), what was
 * expected, what was found, and what to do. The command line prints the message alone; `--debug` adds the stack.
 */
export class TouchstoneError extends Error {
  override readonly name: string = 'TouchstoneError';
}

/** A flag or an argument is wrong: exit code 2. */
export class UsageError extends TouchstoneError {
  override readonly name = 'UsageError';
}

/** A file of a checkpoint (weights, config, tokenizer) is missing, malformed or contradicts another one. */
export class CheckpointError extends TouchstoneError {
  override readonly name = 'CheckpointError';
}

/** Two tensors, or a tensor and its description, do not fit. */
export class ShapeError extends TouchstoneError {
  override readonly name = 'ShapeError';
}

/** A request that cannot be served: an id outside the vocabulary, more tokens than the context holds, ... */
export class RequestError extends TouchstoneError {
  override readonly name = 'RequestError';
}

/** A device that was asked for cannot be had, or cannot do what it was asked. */
export class DeviceError extends TouchstoneError {
  override readonly name = 'DeviceError';
}

/** Why a model could not be had from the hub. */
export type HubReason =
  /** no connection could be made */
  | 'unreachable'
  /** connections were cut or went silent, or the hub failed or had too much to do, again and again */
  | 'failing'
  /** a token is missing or does not suffice, or a licence is not accepted */
  | 'denied'
  /** the hub has no model of that name, or shows it to nobody */
  | 'no-model'
  /** the model has no such branch, tag or commit */
  | 'no-revision'
  /** the revision has no such file */
  | 'no-file'
  /** the repository holds no checkpoint in the formats that are read */
  | 'unfit'
  /** what arrived is not what the hub describes */
  | 'damaged'
  /** offline, and not in the cache */
  | 'offline'
  /** the cache cannot be written */
  | 'disk'
  /** what answers is no hub */
  | 'no-hub';

/** A model could not be had from the hub, or from its cache. */
export class HubError extends TouchstoneError {
  override readonly name = 'HubError';
  /** For programs; the message is for people. */
  readonly reason: HubReason;

  constructor(reason: HubReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** @throws UsageError unless a size is a whole number of at least 1. */
export function expectSize(name: string, value: unknown): void {
  if (Number.isSafeInteger(value) && (value as number) >= 1) return;
  throw new UsageError(`${name}: expected a whole number of at least 1, got ${value}.`);
}
