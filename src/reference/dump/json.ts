/**
 * Tensors written as JSON: `{"logits": [[...], ...]}`, nested arrays by name, or `{"logits": {"shape": [2, 3], "data": [...], "dtype": "float32"}}`, flat; all of
 * them may stand within `"tensors"`. An array alone is the logits. Strings and numbers beside them, and within `"metadata"`, are metadata. What Python writes
 * for numbers that JSON has not (NaN, Infinity) is read, as they are, or in quotes.
 */
import { statSync } from 'node:fs';
import { readJson } from '../../checkpoint/json-file.js';
import { CheckpointError } from '../../errors.js';
import { roundTo16, tableOf } from '../../tensor/dtype.js';
import type { Floats } from '../../tensor/tensor.js';
import type { Dump, DumpTensor } from './dump.js';
import { flattened } from './nested.js';
import { bytesOf } from './values.js';

/** A text of more cannot be in memory at once. */
const LARGEST = 500_000_000;

/** @throws CheckpointError naming the file, the tensor and the fault: ragged, a shape that does not fit, no number */
export function openJson(path: string): Dump {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LARGEST) throw new CheckpointError(`${path}: ${size} bytes are too much JSON; write safetensors or .npz.`);
  const raw = readJson(path, quoted);
  const members: Members = { path, tensors: new Map(), metadata: new Map() };
  if (Array.isArray(raw)) add(members, 'logits', raw);
  else if (isObject(raw)) addAll(members, raw);
  else throw new CheckpointError(`${path}: expected arrays by name ({"logits": [[...]]}), got ${JSON.stringify(raw)}.`);
  return { path, tensors: members.tensors, metadata: Object.fromEntries(members.metadata), close() {} };
}

/** Puts quotes around NaN and Infinity where they stand outside of strings. */
function quoted(text: string): string {
  if (!/NaN|Infinity/.test(text)) return text;
  return text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (found) =>
    found.startsWith('"') ? found : `"${found}"`,
  );
}

interface Members {
  readonly path: string;
  readonly tensors: Map<string, DumpTensor>;
  readonly metadata: Map<string, string>;
}

function addAll(members: Members, object: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(object)) {
    if ((name === 'tensors' || name === 'metadata') && isObject(value) && !isTensor(value)) addAll(members, value);
    else if (typeof value !== 'object' || value === null) members.metadata.set(name, String(value));
    else add(members, name, value);
  }
}

function add({ path, tensors }: Members, name: string, value: unknown): void {
  const fail = (problem: string): never => {
    throw new CheckpointError(`${path}: tensor ${name}: ${problem}`);
  };
  if (tensors.has(name)) fail('there are two of this name.');
  if (!isTensor(value)) {
    if (!Array.isArray(value))
      fail(`expected an array of numbers, or {"shape": [...], "data": [...]}, got ${shown(value)}.`);
    const { shape, values } = flattened(value, fail);
    tensors.set(name, tensor(name, narrowest(name, values), shape, values));
    return;
  }
  const dtype = 'dtype' in value ? dtypeOf(value.dtype, fail) : null;
  const { values } = flattened(value.data, fail);
  const shape = shapeOf(value.shape, fail);
  const count = bytesOf(shape, 8, name, path);
  if (count !== values.length) fail(`shape [${shape.join(', ')}] needs ${count} values, got ${values.length}.`);
  tensors.set(name, tensor(name, dtype ?? narrowest(name, values), shape, values));
}

function tensor(name: string, dtype: string, shape: readonly number[], values: Float64Array): DumpTensor {
  const rounded = inDtype(dtype, values);
  return { name, dtype, shape, read: () => rounded.slice() };
}

/** Decimals are read as the numbers of the dtype that they were printed of: the nearest. */
function inDtype(dtype: string, values: Float64Array): Floats {
  if (dtype === 'F32') return Float32Array.from(values);
  if (dtype !== 'F16' && dtype !== 'BF16') return values;
  const table = tableOf(dtype)!;
  return Float32Array.from(values, (value) => table[roundTo16(dtype, Math.fround(value))]!);
}

/** What numbers without a dtype are: ids by their name, float32 if float32 has all of them, else float64. */
function narrowest(name: string, values: Float64Array): string {
  if (/(^|[^a-z])(ids|positions|experts|topk)$/.test(name) && values.every(Number.isSafeInteger)) return 'I64';
  return values.every((value) => Object.is(Math.fround(value), value)) ? 'F32' : 'F64';
}

const DTYPES: Readonly<Record<string, string>> = {
  f64: 'F64', float64: 'F64', f32: 'F32', float32: 'F32', f16: 'F16', float16: 'F16', bf16: 'BF16', bfloat16: 'BF16', i64: 'I64', int64: 'I64', i32: 'I32', int32: 'I32',
}; // biome-ignore format: a table

function dtypeOf(value: unknown, fail: (problem: string) => never): string {
  const name = String(value).toLowerCase();
  if (Object.hasOwn(DTYPES, name)) return DTYPES[name]!;
  return fail(
    `the dtype ${JSON.stringify(value)} is not known; known are float64, float32, float16, bfloat16, int64 and int32.`,
  );
}

function shapeOf(value: unknown, fail: (problem: string) => never): number[] {
  if (Array.isArray(value) && value.every((length) => Number.isSafeInteger(length) && length >= 0)) return value;
  return fail(`expected a shape of whole numbers, got ${shown(value)}.`);
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isTensor = (
  value: unknown,
): value is Readonly<Record<'shape' | 'data', unknown>> & { readonly dtype?: unknown } =>
  isObject(value) && 'shape' in value && 'data' in value;

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}
