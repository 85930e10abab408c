/**
 * A cache in a file, so that a long prompt is fed once. It is rows of one checkpoint, fed one text and run in one way, and good for nothing else:
 * all three are written beside the rows, and checked when it is loaded.
 *
 * `ids` [next], and for each layer i `layers.i.positions` [S] and a tensor [S, heads, dim] for each stream, in the dtype that they are kept in.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { CacheContents, KvCache } from '../../attention/cache/cache.js';
import { contentsOf } from '../../attention/cache/contents.js';
import type { LayerSchema } from '../../attention/streams.js';
import { hashesOf } from '../checkpoint/folder.js';
import type { Dtype } from '../checkpoint/safetensors/header.js';
import { type SafetensorsFile, withSafetensors } from '../checkpoint/safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../checkpoint/safetensors/write.js';
import { CheckpointError, RequestError } from '../errors.js';
import { expectIds } from '../model/embedding.js';
import type { Model } from '../model/load.js';
import type { Floats } from '../tensor/tensor.js';
import { VERSION } from '../version.js';

const FORMAT = 'touchstone-cache-1';

/** Writes what a cache holds. @throws RequestError for a cache that holds nothing, or a model that was not read from files */
export function saveCache(path: string, cache: KvCache, model: Model): void {
  if (cache.next === 0) throw new RequestError('The cache holds no tokens, so there is nothing to save.');
  const { schemas, kvDtype } = model.components;
  const contents = contentsOf(cache, schemas, kvDtype);
  const tensors = tensorsOf(contents, schemas);
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
function optionsOf({ components: { chosen } }: Model): Record<string, string> {
  const { cache: _kind, ...others } = chosen;
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
  const hashes = membersOf(file, 'sha256');
  for (const [name, hash] of Object.entries(checkpointOf(model))) {
    if (hashes[name] === hash) continue;
    throw new CheckpointError(
      `${file.path}: the cache was saved with another ${name} than this model's; feed the prompt again and save it.`,
    );
  }
  const saved = membersOf(file, 'options');
  for (const [option, value] of Object.entries(optionsOf(model))) {
    if (saved[option] === value) continue;
    throw new CheckpointError(
      `${file.path}: the cache was saved with ${option} = ${saved[option]}, and this run has ${value}; choose the same.`,
    );
  }
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
function tensorsOf({ ids, layers }: CacheContents, schemas: readonly LayerSchema[]): TensorToWrite[] {
  return [
    { name: 'ids', dtype: 'I32', shape: [ids.length], data: ids },
    ...layers.flatMap(({ positions, rows }, i): TensorToWrite[] => [
      { name: `layers.${i}.positions`, dtype: 'I32', shape: [positions.length], data: positions },
      ...schemas[i]!.streams.map(({ name, heads, dim }): TensorToWrite => {
        const data = rows.get(name)!;
        const dtype = data instanceof Float64Array ? 'F64' : 'F32';
        return { name: `layers.${i}.${name}`, dtype, shape: [positions.length, heads, dim], data };
      }),
    ]),
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

function readContents(file: SafetensorsFile, { components: { schemas, kvDtype } }: Model): CacheContents {
  const ids = readInts(file, 'ids');
  if (ids.length === 0) throw new CheckpointError(`${file.path}: the saved cache holds no tokens.`);
  const layers = schemas.map(({ streams }, i) => {
    const positions = readInts(file, `layers.${i}.positions`);
    const ascending = positions.every((position, row) => position > (positions[row - 1] ?? -1));
    if (!ascending || (positions.at(-1) ?? 0) >= ids.length) {
      throw new CheckpointError(`${file.path}: layers.${i}.positions do not ascend below the ${ids.length} tokens.`);
    }
    const rows = streams.map(({ name, heads, dim }): [string, Floats] => {
      const shape = [positions.length, heads, dim];
      const bytes = readShaped(file, `layers.${i}.${name}`, kvDtype === 'float64' ? 'F64' : 'F32', shape);
      return [name, kvDtype === 'float64' ? new Float64Array(bytes) : new Float32Array(bytes)];
    });
    return { positions, rows: new Map(rows) };
  });
  const contents = { ids, layers };
  const tensors = tensorsOf(contents, schemas);
  if (tensors.length !== file.tensors.size || hashOf(tensors) !== file.metadata.get('contents_sha256')) {
    throw new CheckpointError(
      `${file.path}: the rows or tokens are not those that were saved (sha256); the file is damaged.`,
    );
  }
  return contents;
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
