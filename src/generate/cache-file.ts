/**
 * A cache in a file, so that a long prompt is fed once. It is rows of one checkpoint, fed one text and run in one way, and good for nothing else:
 * all three are written beside the rows, and checked when it is loaded.
 *
 * `ids` [next], and for each layer i `layers.i.positions` [S] and a tensor [S, heads, dim] for each stream, in the dtype that they are kept in.
 */
import { createHash } from 'node:crypto';
import type { CacheContents, KvCache } from '../../attention/cache/cache.js';
import { contentsOf } from '../../attention/cache/contents.js';
import type { LayerSchema } from '../../attention/streams.js';
import { hashesOf } from '../checkpoint/folder.js';
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

function checkpointOf({ files }: Model): Record<string, string> {
  if (files.length === 0) {
    throw new RequestError(
      'This model was not read from files, so a cache of it could not be told from that of another.',
    );
  }
  return hashesOf(files);
}

function checkOrigin(file: SafetensorsFile, model: Model): void {
  const said = (key: string) => file.metadata.get(key) ?? '';
  if (said('format') !== FORMAT) {
    throw new CheckpointError(
      `${file.path}: expected a saved cache (format ${FORMAT}), got format '${said('format')}'.`,
    );
  }
  for (const [name, hash] of Object.entries(checkpointOf(model))) {
    if (membersOf(file, 'sha256')[name] === hash) continue;
    throw new CheckpointError(
      `${file.path}: the cache was saved with another ${name} than the checkpoint's; feed the prompt again and save it.`,
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

function membersOf({ metadata, path }: SafetensorsFile, key: string): Record<string, unknown> {
  try {
    return JSON.parse(metadata.get(key) ?? '') as Record<string, unknown>;
  } catch {
    throw new CheckpointError(`${path}: the metadata ${key} is not the JSON that a saved cache has.`);
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
  const ids = new Int32Array(file.read('ids'));
  const layers = schemas.map(({ streams }, i) => {
    const positions = new Int32Array(file.read(`layers.${i}.positions`));
    const rows = streams.map(({ name, heads, dim }): [string, Floats] => {
      const bytes = file.read(`layers.${i}.${name}`);
      const values = kvDtype === 'float64' ? new Float64Array(bytes) : new Float32Array(bytes);
      if (values.length !== positions.length * heads * dim) {
        throw new CheckpointError(
          `${file.path}: tensor layers.${i}.${name} does not hold ${positions.length} rows of ${heads} x ${dim}.`,
        );
      }
      return [name, values];
    });
    return { positions, rows: new Map(rows) };
  });
  const contents = { ids, layers };
  if (hashOf(tensorsOf(contents, schemas)) !== file.metadata.get('contents_sha256')) {
    throw new CheckpointError(
      `${file.path}: the rows or tokens are not those that were saved (sha256); the file is damaged.`,
    );
  }
  return contents;
}
