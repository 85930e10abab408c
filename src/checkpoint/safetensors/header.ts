/**
 * The header of a safetensors file, read strictly: 8 bytes length (u64, little-endian), a JSON object of tensors, then the data,
 * which the tensors' spans tile exactly. JSON.parse is not used for the object because it accepts what the format forbids (a
 * name or field twice, -0, 8.0, integers above 2^53) without a sign.
 */
import { CheckpointError } from '../../errors.js';
import { strictUtf8 } from '../strict-utf8.js';
import { JsonScanner } from './scanner.js';

/** Bits a value of each dtype of the format. */
export const DTYPE_BITS = {
  BOOL: 8, F4: 4, F6_E2M3: 6, F6_E3M2: 6, U8: 8, I8: 8, F8_E5M2: 8, F8_E5M2FNUZ: 8, F8_E4M3: 8, F8_E4M3FNUZ: 8, F8_E8M0: 8,
  I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, C64: 64, F64: 64, I64: 64, U64: 64,
} as const; // biome-ignore format: a table

export type Dtype = keyof typeof DTYPE_BITS;

/** A tensor as the header describes it; `begin` and `end` are byte offsets into the data. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: ReadonlyMap<string, string>;
  /** Where the data begins in the file. */
  readonly dataStart: number;
}

const MAX_HEADER_BYTES = 100_000_000;

/** The header's length from the first 8 bytes. @throws CheckpointError if no header can follow. */
export function headerLength(first: Uint8Array, fileSize: number, file: string): number {
  if (fileSize < 8) {
    throw new CheckpointError(`${file}: expected a safetensors file, which has at least 8 bytes, got ${fileSize}.`);
  }
  const length = new DataView(first.buffer, first.byteOffset).getBigUint64(0, true);
  const hint = gitLfsHint(first);
  if (hint) throw new CheckpointError(`${file}: ${hint}`);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new CheckpointError(
      `${file}: the header claims ${length} bytes, and at most ${MAX_HEADER_BYTES} are allowed.`,
    );
  }
  if (length > BigInt(fileSize - 8)) {
    throw new CheckpointError(`${file}: the header claims ${length} bytes, and the file ends after ${fileSize - 8}.`);
  }
  return Number(length);
}

/** What stands where weights should be when a repository was cloned without Git LFS. */
function gitLfsHint(first: Uint8Array): string | null {
  if (new TextDecoder('latin1').decode(first.subarray(0, 8)) !== 'version ') return null;
  return 'this is a Git LFS pointer, not the weights; run `git lfs pull` in the checkpoint folder, or download the file.';
}

/**
 * Parses and checks the header's JSON.
 * @param bytes the JSON, without the length before it
 * @param dataBytes how many bytes follow it in the file
 */
export function parseHeader(bytes: Uint8Array, dataBytes: number, file: string): Header {
  const fail = (problem: string): never => {
    throw new CheckpointError(`${file}: ${problem}`);
  };
  const tensors = new Map<string, TensorEntry>();
  let metadata: Map<string, string> | null = null;
  if (bytes.length === 0) fail('the header is empty; expected a JSON object.');
  const scanner = new JsonScanner(strictUtf8(bytes, 'the header', fail), fail);
  scanner.object('the header', (name) => {
    if (name === '__metadata__') {
      if (metadata) fail('__metadata__ stands in the header twice.');
      metadata = readMetadata(scanner, fail);
    } else {
      if (tensors.has(name)) fail(`tensor ${quote(name)} stands in the header twice.`);
      tensors.set(name, readEntry(scanner, name, fail));
    }
  });
  scanner.end();
  checkTiling([...tensors.values()], dataBytes, fail);
  return { tensors, metadata: metadata ?? new Map(), dataStart: 8 + bytes.length };
}

type Fail = (problem: string) => never;

const quote = JSON.stringify;

function readMetadata(scanner: JsonScanner, fail: Fail): Map<string, string> {
  const metadata = new Map<string, string>();
  if (scanner.skipNull()) return metadata; // MLX's, where none are given
  scanner.object('__metadata__', (key) => {
    if (metadata.has(key)) fail(`__metadata__ has the key ${quote(key)} twice.`);
    metadata.set(key, scanner.string(`__metadata__ ${quote(key)}`));
  });
  return metadata;
}

function readEntry(scanner: JsonScanner, name: string, fail: Fail): TensorEntry {
  const what = `tensor ${quote(name)}`;
  let dtype: string | null = null;
  let shape: bigint[] | null = null;
  let offsets: bigint[] | null = null;
  const once = (value: unknown, field: string) => value !== null && fail(`${what} has the field ${field} twice.`);
  scanner.object(what, (field) => {
    if (field === 'dtype') {
      once(dtype, field);
      dtype = scanner.string(`the dtype of ${what}`);
    } else if (field === 'shape') {
      once(shape, field);
      shape = scanner.integers(`the shape of ${what}`);
    } else if (field === 'data_offsets') {
      once(offsets, field);
      offsets = scanner.integers(`the data_offsets of ${what}`);
    } else {
      fail(`${what} has an unknown field ${quote(field)}; expected dtype, shape and data_offsets.`);
    }
  });
  return checkEntry(name, dtype, shape, offsets, fail);
}

function checkEntry(
  name: string,
  dtype: string | null,
  shape: bigint[] | null,
  offsets: bigint[] | null,
  fail: Fail,
): TensorEntry {
  const what = `tensor ${quote(name)}`;
  if (dtype === null || shape === null || offsets === null) {
    return fail(`${what} lacks ${dtype === null ? 'dtype' : shape === null ? 'shape' : 'data_offsets'}.`);
  }
  if (!Object.hasOwn(DTYPE_BITS, dtype)) {
    return fail(`${what} has the dtype ${quote(dtype)}; known are ${Object.keys(DTYPE_BITS).join(', ')}.`);
  }
  if (offsets.length !== 2) return fail(`${what} has ${offsets.length} data_offsets; expected begin and end.`);
  const [begin, end] = offsets as [bigint, bigint];
  if (end < begin) return fail(`${what} ends at byte ${end}, before it begins at ${begin}.`);
  checkSize(what, dtype as Dtype, shape, end - begin, fail);
  return { name, dtype: dtype as Dtype, shape: shape.map(Number), begin: Number(begin), end: Number(end) };
}

/** All in BigInt: a product that wraps around must not look right. */
function checkSize(what: string, dtype: Dtype, shape: readonly bigint[], bytes: bigint, fail: Fail): void {
  const extent = shape.reduce((product, length) => product * (length || 1n), 1n);
  if (extent > BigInt(Number.MAX_SAFE_INTEGER)) fail(`${what} has the impossible shape [${shape.join(', ')}].`);
  const bits = shape.reduce((product, length) => product * length, BigInt(DTYPE_BITS[dtype]));
  if (bits % 8n !== 0n) fail(`${what}: ${dtype} of shape [${shape.join(', ')}] does not fill whole bytes.`);
  if (bits / 8n !== bytes) {
    fail(
      `${what}: ${dtype} of shape [${shape.join(', ')}] takes ${bits / 8n} bytes, and its data_offsets span ${bytes}.`,
    );
  }
}

/** Spans, sorted, must follow each other from 0 to the end of the data: no hole, no overlap, no rest. */
function checkTiling(entries: readonly TensorEntry[], dataBytes: number, fail: Fail): void {
  const sorted = [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  for (const { name, begin, end } of sorted) {
    const what = `tensor ${quote(name)}`;
    if (begin < covered)
      fail(`${what} begins at byte ${begin} of the data, inside another tensor that ends at ${covered}.`);
    if (begin > covered) fail(`bytes ${covered} to ${begin} of the data, before ${what}, belong to no tensor.`);
    if (end > dataBytes)
      fail(`${what} ends at byte ${end} of the data, and the file holds ${dataBytes}; it was cut short.`);
    covered = end;
  }
  if (covered < dataBytes) fail(`${dataBytes - covered} bytes after the last tensor belong to no tensor.`);
}
