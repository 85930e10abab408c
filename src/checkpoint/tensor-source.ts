/**
 * The tensors of a checkpoint folder, in one file or in shards. What was never taken is an error: nothing stays unread.
 *
 * As for transformers, a single file comes before an index; every tensor of a shard counts, in the index or not. The index must not say what is not so.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError } from '../errors.js';
import { type FloatBits, type FloatDtype, isFloat8 } from '../tensor/dtype.js';
import type { Dtype, TensorEntry } from './safetensors/header.js';
import { openSafetensors, type SafetensorsFile } from './safetensors/read.js';
import { INDEX, readShardIndex, SINGLE } from './shard-index.js';

export interface StoredTensor {
  readonly name: string;
  readonly dtype: FloatDtype;
  readonly bits: FloatBits;
}

/** What weights are read from: a checkpoint's files, or whatever has tensors by name. */
export type WeightSource = Pick<
  TensorSource,
  'folder' | 'has' | 'find' | 'expectShape' | 'take' | 'takeBytes' | 'ignore'
>;

export class TensorSource {
  private readonly files: SafetensorsFile[] = [];
  private readonly places = new Map<string, SafetensorsFile>();
  private readonly taken = new Set<string>();
  readonly folder: string;
  private readonly progress: ((read: number, of: number) => void) | undefined;
  private bytesRead = 0;

  /** @param progress told after each tensor how many bytes are read, of those of all tensors */
  constructor(folder: string, progress?: (read: number, of: number) => void) {
    this.folder = folder;
    this.progress = progress;
    try {
      if (existsSync(join(folder, SINGLE))) this.open(SINGLE);
      else if (existsSync(join(folder, INDEX))) this.openShards(join(folder, INDEX));
      else throw new CheckpointError(noWeights(folder));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Every tensor's description, in the files' order. */
  entries(): TensorEntry[] {
    return this.files.flatMap(({ tensors }) => [...tensors.values()]);
  }

  /** Of all tensors together. */
  get bytes(): number {
    return this.entries().reduce((sum, { begin, end }) => sum + end - begin, 0);
  }

  /** The files, in the order they were opened. */
  get paths(): string[] {
    return this.files.map(({ path }) => path);
  }

  has(name: string): boolean {
    return this.places.has(name);
  }

  /** A tensor's description, and the file that it stands in. @throws CheckpointError if it is missing */
  find(name: string, expected: string): { entry: TensorEntry; path: string } {
    const file = this.places.get(name);
    if (!file) throw new CheckpointError(`${this.folder}: tensor ${name} is missing; expected ${expected}.`);
    return { entry: file.tensors.get(name)!, path: file.path };
  }

  /** The same of a tensor of exactly this shape. @throws CheckpointError if it is missing, or has another shape */
  expectShape(name: string, shape: readonly number[]): { entry: TensorEntry; path: string } {
    const found = this.find(name, `shape [${shape.join(', ')}]`);
    const own = found.entry.shape;
    if (own.length === shape.length && own.every((length, i) => length === shape[i])) return found;
    throw new CheckpointError(
      `${found.path}: tensor ${name} has shape [${own.join(', ')}], and config.json makes it [${shape.join(', ')}].`,
    );
  }

  /** Reads a tensor of floats, of exactly this shape. @throws CheckpointError if it is missing or different. */
  take(name: string, shape: readonly number[]): StoredTensor {
    const { entry, path } = this.expectShape(name, shape);
    const dtype = floatDtype(entry, path);
    return { name, dtype, bits: view(dtype, this.takeBytes(name)) };
  }

  /** Reads a tensor whatever it is, as its bytes; `find` says of what shape and dtype they are. @throws CheckpointError if it is missing */
  takeBytes(name: string): ArrayBuffer {
    this.find(name, 'it to be there');
    this.taken.add(name);
    const bytes = this.places.get(name)!.read(name);
    this.bytesRead += bytes.byteLength;
    this.progress?.(this.bytesRead, this.bytes);
    return bytes;
  }

  /** Marks tensors as read that no logit needs: buffers that old files saved, layers of another purpose. */
  ignore(matches: (name: string) => boolean): void {
    for (const name of this.places.keys()) if (matches(name)) this.taken.add(name);
  }

  /** @throws CheckpointError if a tensor was not taken. */
  expectAllTaken(): void {
    const left = [...this.places.keys()].filter((name) => !this.taken.has(name));
    if (left.length === 0) return;
    const file = this.places.get(left[0]!)!.path;
    const more = left.length > 1 ? ` (and ${left.length - 1} more)` : '';
    throw new CheckpointError(
      `${file}: tensor ${left[0]}${more} is left over; a model of this config.json has no place for it.`,
    );
  }

  close(): void {
    for (const file of this.files) file.close();
    this.files.length = 0;
  }

  private open(name: string): void {
    const file = openSafetensors(join(this.folder, name));
    this.files.push(file);
    for (const tensor of file.tensors.keys()) {
      const other = this.places.get(tensor);
      if (other) throw new CheckpointError(`${file.path}: tensor ${tensor} stands in ${other.path} too.`);
      this.places.set(tensor, file);
    }
  }

  private openShards(indexFile: string): void {
    const map = readShardIndex(indexFile);
    for (const shard of new Set(Object.values(map))) {
      if (!existsSync(join(this.folder, shard))) throw new CheckpointError(missingShard(indexFile, shard, map));
      this.open(shard);
    }
    for (const [tensor, shard] of Object.entries(map)) {
      if (this.places.get(tensor)?.path !== join(this.folder, shard)) {
        throw new CheckpointError(`${indexFile}: tensor ${tensor} is mapped to ${shard}, which does not hold it.`);
      }
    }
  }
}

/** Bytes of a folder's tensors as they are stored; null where it has a config.json and no weights. @throws CheckpointError */
export function weightBytesOf(folder: string): number | null {
  if (![SINGLE, INDEX].some((name) => existsSync(join(folder, name)))) return null;
  const source = new TensorSource(folder);
  try {
    return source.bytes;
  } finally {
    source.close();
  }
}

/** What stands there in place of weights that are read. */
function noWeights(folder: string): string {
  const others = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => WEIGHTS.test(name))
        .sort()
    : [];
  const found = others.length > 0 ? `, only ${others.slice(0, 3).join(', ')}${others.length > 3 ? ', ...' : ''}` : '';
  const hint = others.some((name) => !name.endsWith('.safetensors'))
    ? '; other forms are not read: save the model with save_pretrained(...) of transformers'
    : '';
  return `${folder}: there is neither ${SINGLE} nor ${INDEX}${found}${hint}.`;
}

const WEIGHTS = /\.(safetensors|bin|pt|pth|gguf|h5|msgpack|npz|onnx)$/;

function missingShard(indexFile: string, shard: string, map: Readonly<Record<string, string>>): string {
  const [first, ...more] = Object.keys(map).filter((tensor) => map[tensor] === shard);
  const others = more.length > 0 ? ` and ${more.length} more tensors` : '';
  return `${indexFile}: the shard ${shard}, which ${first}${others} stand in, is missing; download it.`;
}

const FLOATS: readonly FloatDtype[] = ['F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2'];

/** Whether a tensor may be a weight by its dtype: others are buffers, codes and scales. */
export function isFloatDtype(dtype: Dtype): dtype is FloatDtype {
  return (FLOATS as readonly Dtype[]).includes(dtype);
}

function floatDtype({ name, dtype }: TensorEntry, file: string): FloatDtype {
  if (isFloatDtype(dtype)) return dtype;
  const names = `${FLOATS.slice(0, -1).join(', ')} or ${FLOATS.at(-1)}`;
  throw new CheckpointError(`${file}: tensor ${name} is ${dtype}; weights must be ${names}.`);
}

function view(dtype: FloatDtype, bytes: ArrayBuffer): FloatBits {
  if (dtype === 'F64') return new Float64Array(bytes);
  if (isFloat8(dtype)) return new Uint8Array(bytes);
  return dtype === 'F32' ? new Float32Array(bytes) : new Uint16Array(bytes);
}
