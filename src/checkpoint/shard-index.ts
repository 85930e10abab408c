/** model.safetensors.index.json: which shard each tensor stands in. */
import { z } from 'zod';
import { CheckpointError } from '../errors.js';
import { readJson, validate } from './json-file.js';

/** Weights in one file, and the index of weights in shards. */
export const SINGLE = 'model.safetensors';
export const INDEX = 'model.safetensors.index.json';

const schema = z.object({ weight_map: z.record(z.string(), z.string()) });
/** No path: nothing that leads out of the folder. (A link inside the folder, as in the hub's cache, is fine.) */
const SHARD_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]*\.safetensors$/;

/** Tensor -> shard. @throws CheckpointError if it is malformed, or a shard is not a plain file name */
export function readShardIndex(indexFile: string): Readonly<Record<string, string>> {
  const { weight_map: map } = validate(schema, readJson(indexFile), indexFile);
  const odd = Object.values(map).find((shard) => !SHARD_NAME.test(shard));
  if (odd === undefined) return map;
  throw new CheckpointError(`${indexFile}: the shard ${JSON.stringify(odd)} is not a plain file name in this folder.`);
}
