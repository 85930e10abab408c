/**
 * A cache in a file, so that a long prompt is fed once. It is rows of one checkpoint, fed one text and run in one way, and good for nothing else:
 * all three are written beside the rows, and checked when it is loaded.
 *
 * `ids` [next], and for each layer i `layers.i.positions` [S] and the arrays that its rows lie in, as they lie in memory: for each stream its
 * values (floats and fp8 [S, heads, dim]; integers [S, bytes of a row]) and, where it has them, `.scales` and `.minima` (by token [S, heads, groups],
 * by channel [S / group, heads, dim]). Rows that are kept as they were computed are in `layers.i.residual.*`.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { CacheContents, KvCache, LayerContents } from '../../attention/cache/cache.js';
import type { LayerPlan } from '../../attention/cache/layer-plan.js';
import { LayerRows } from '../../attention/cache/rows.js';
import { hashesOf } from '../checkpoint/folder.js';
import type { Dtype } from '../checkpoint/safetensors/header.js';
import { type SafetensorsFile, withSafetensors } from '../checkpoint/safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../checkpoint/safetensors/write.js';
import { CheckpointError, RequestError } from '../errors.js';
import { describeRun } from '../model/describe.js';
import { expectIds } from '../model/embedding.js';
import type { Model } from '../model/load.js';
import { VERSION } from '../version.js';

const FORMAT = 'touchstone-cache-1';

/** Writes what a cache holds. @throws RequestError for a cache that holds nothing, or a model that was not read from files */
export function saveCache(path: string, cache: KvCache, model: Model): void {
  if (cache.next === 0) throw new RequestError('The cache holds no tokens, so there is nothing to save.');
  const tensors = tensorsOf(cache.contents());
  writeSafetensors(path, tensors, {
    format: FORMAT,
    touchstone: VERSION,
    family: model.config.family,
    options: JSON.stringify(optionsOf(model)),
    sha256: JSON.stringify(checkpointOf(model)),
    contents_sha256: hashOf(tensors),
  });
}

/**
 * A cache of this model that holds what was saved. The kind of cache may be another one than was saved, if it needs no row that is gone.
 * @throws CheckpointError if the file is of another checkpoint, was made with other choices, or is damaged; RequestError if this kind of
 * cache cannot hold it
 */
export function loadCache(path: string, model: Model): KvCache {
  const contents = withSafetensors(path, (file) => {
    checkOrigin(file, model);
    return readContents(file, model);
  });
  expectIds([...contents.ids], model.config.vocabulary);
  const cache = model.components.newCache();
  cache.restore(contents);
  return cache;
}

/** What decides a row's bits: all choices but where rows are kept. */
function optionsOf(model: Model): Record<string, string> {
  const { cache: _kind, ...others } = describeRun(model);
  return others;
}

/** The files that the model was read from, and what was made of its config: keys may have been ignored, or the config changed. */
function checkpointOf({ files, config }: Model): Record<string, string> {
  if (files.length === 0) {
    throw new RequestError(
      'This model was not read from files, so a cache of it could not be told from that of another.',
    );
  }
  const understood = createHash('sha256').update(JSON.stringify(config)).digest('hex');
  return { ...hashesOf(files), 'config as it was understood': understood };
}

function checkOrigin(file: SafetensorsFile, model: Model): void {
  const format = file.metadata.get('format');
  if (format !== FORMAT) {
    throw new CheckpointError(`${file.path}: expected a saved cache (format ${FORMAT}), got format '${format ?? ''}'.`);
  }
  const [saved, own] = [membersOf(file, 'options'), optionsOf(model)];
  expectOption(file, saved, 'ropeLength', own); // before the config that it changes
  const hashes = membersOf(file, 'sha256');
  for (const [name, hash] of Object.entries(checkpointOf(model))) {
    if (hashes[name] === hash) continue;
    throw new CheckpointError(
      `${file.path}: the cache was saved with another ${name} than this model's; feed the prompt again and save it.`,
    );
  }
  for (const option of Object.keys(own)) expectOption(file, saved, option, own);
}

type Options = Readonly<Record<string, string>>;

function expectOption({ path }: SafetensorsFile, saved: Options, option: string, own: Options): void {
  if (saved[option] === own[option]) return;
  throw new CheckpointError(
    `${path}: the cache was saved with ${option} = ${saved[option]}, and this run has ${own[option]}; choose the same.`,
  );
}

const members = z.record(z.string(), z.string());

function membersOf({ metadata, path }: SafetensorsFile, key: string): Record<string, string> {
  try {
    return members.parse(JSON.parse(metadata.get(key) ?? ''));
  } catch {
    throw new CheckpointError(`${path}: the metadata ${key} is not the JSON object of texts that a saved cache has.`);
  }
}

/** The tensors of the file, in one order. */
function tensorsOf({ ids, layers, residual }: CacheContents): TensorToWrite[] {
  const of = (name: string, { positions, rows }: LayerContents): TensorToWrite[] => [
    { name: `${name}.positions`, dtype: 'I32', shape: [positions.length], data: positions },
    ...rows.stored().map((array) => ({ ...array, name: `${name}.${array.name}` })),
  ];
  return [
    { name: 'ids', dtype: 'I32', shape: [ids.length], data: ids },
    ...layers.flatMap((layer, i) => of(`layers.${i}`, layer)),
    ...(residual ?? []).flatMap((layer, i) => of(`layers.${i}.residual`, layer)),
  ];
}

function hashOf(tensors: readonly TensorToWrite[]): string {
  const hash = createHash('sha256');
  for (const { name, shape, data } of tensors) {
    hash.update(`${name} ${shape.join('x')}\n`);
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex');
}

function readContents(file: SafetensorsFile, { components: { plans } }: Model): CacheContents {
  const ids = readInts(file, 'ids');
  if (ids.length === 0) throw new CheckpointError(`${file.path}: the saved cache holds no tokens.`);
  const layers = plans.stored.map((plan, i) => readLayer(file, `layers.${i}`, plan, ids.length));
  const residual = plans.exact?.map((plan, i) => readLayer(file, `layers.${i}.residual`, plan, ids.length)) ?? null;
  const contents = { ids, layers, residual };
  for (const { positions } of residual ?? []) expectLast(file, positions, ids.length);
  const tensors = tensorsOf(contents);
  if (tensors.length !== file.tensors.size || hashOf(tensors) !== file.metadata.get('contents_sha256')) {
    throw new CheckpointError(
      `${file.path}: the rows or tokens are not those that were saved (sha256); the file is damaged.`,
    );
  }
  return contents;
}

/** @throws CheckpointError unless these are the last positions of the sequence, one after the other */
function expectLast({ path }: SafetensorsFile, positions: Int32Array, next: number): void {
  if (positions.every((position, row) => position === next - positions.length + row)) return;
  throw new CheckpointError(`${path}: the rows of the residual are not those of the last ${positions.length} tokens.`);
}

/** @throws CheckpointError for positions that cannot be, or arrays of another dtype or shape than they would have */
function readLayer(file: SafetensorsFile, name: string, plan: LayerPlan, next: number): LayerContents {
  const positions = readInts(file, `${name}.positions`);
  const { alignment } = plan.layout;
  const rising = positions.every((position, row) => position > (positions[row - 1] ?? -1));
  const whole = positions.every((position, row) => position % alignment === row % alignment);
  if (!rising || !whole || positions.length % alignment !== 0 || (positions.at(-1) ?? 0) >= next) {
    throw new CheckpointError(`${file.path}: ${name}.positions do not ascend below the ${next} tokens.`);
  }
  const rows = LayerRows.load(plan, positions.length, (array, dtype, shape) =>
    readShaped(file, `${name}.${array}`, dtype, shape),
  );
  return { positions, rows };
}

function readInts(file: SafetensorsFile, name: string): Int32Array {
  return new Int32Array(readShaped(file, name, 'I32', [file.tensors.get(name)?.shape[0] ?? 0]));
}

/** @throws CheckpointError if there is no such tensor, or one of another dtype or shape */
function readShaped(file: SafetensorsFile, name: string, dtype: Dtype, shape: readonly number[]): ArrayBuffer {
  const bytes = file.read(name);
  const found = file.tensors.get(name)!;
  if (found.dtype === dtype && found.shape.join() === shape.join()) return bytes;
  throw new CheckpointError(
    `${file.path}: tensor ${name}: expected ${dtype} [${shape.join(', ')}], got ${found.dtype} [${found.shape.join(', ')}].`,
  );
}
