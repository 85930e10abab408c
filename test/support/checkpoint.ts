import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/safetensors/write.js';
import { fixture, temporaryFolder } from './fixtures.js';

/** A copy of a checkpoint that a test may damage: of links too, since what they lead to is not the test's to write. */
export function copyOf(name: string, parent = temporaryFolder()): string {
  const folder = join(parent, name);
  cpSync(fixture(name), folder, { recursive: true, dereference: true });
  return folder;
}

type Json = Record<string, unknown>;

/** Changes a JSON file; a key that becomes undefined is removed. */
export function editJson(file: string, change: (value: Json) => Json): void {
  writeFileSync(file, JSON.stringify(change(JSON.parse(readFileSync(file, 'utf8')) as Json)));
}

/** Every tensor of a checkpoint of 16-bit weights, to be written again. */
export function tensorsOf(folder: string): TensorToWrite[] {
  return withSafetensors(join(folder, 'model.safetensors'), (file) =>
    [...file.tensors.values()].map(({ name, dtype, shape }) => ({
      name,
      dtype,
      shape,
      data: new Uint16Array(file.read(name)),
    })),
  );
}

export function writeTensors(folder: string, tensors: readonly TensorToWrite[]): void {
  writeSafetensors(join(folder, 'model.safetensors'), tensors);
}

/** Cuts a checkpoint into two shards with an index. */
export function shard(
  folder: string,
  changeMap: (map: Record<string, string>) => Record<string, string> = (map) => map,
): void {
  const tensors = tensorsOf(folder);
  const names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
  const halves = [tensors.slice(0, 9), tensors.slice(9)];
  const map: Record<string, string> = {};
  for (const [i, half] of halves.entries()) {
    writeSafetensors(join(folder, names[i]!), half);
    for (const { name } of half) map[name] = names[i]!;
  }
  rmSync(join(folder, 'model.safetensors'));
  writeFileSync(
    join(folder, 'model.safetensors.index.json'),
    JSON.stringify({ metadata: {}, weight_map: changeMap(map) }),
  );
}
