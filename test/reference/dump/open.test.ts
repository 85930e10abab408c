import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeSafetensors } from '../../../src/checkpoint/safetensors/write.js';
import { CheckpointError } from '../../../src/errors.js';
import { openDump } from '../../../src/reference/dump/open.js';
import { fixture, temporaryFolder } from '../../support/fixtures.js';
import { bytesOf, npy, zip } from '../../support/npy.js';

const three = npy(bytesOf(new Float32Array([1, 2, 3])));

function stored(name: string, bytes: Uint8Array | string): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, bytes);
  return path;
}

/** Every tensor: [dtype, shape, values]. */
function read(path: string): Record<string, [string, readonly number[], number[]]> {
  const dump = openDump(path);
  try {
    return Object.fromEntries(
      [...dump.tensors.values()].map(({ name, dtype, shape, read }) => [name, [dtype, shape, [...read()]]]),
    );
  } finally {
    dump.close();
  }
}

describe('opening a dump', () => {
  it('reads safetensors, with metadata', () => {
    const path = join(temporaryFolder(), 'x.safetensors');
    const ids = new BigInt64Array([5n, 7n]);
    writeSafetensors(path, [{ name: 'input_ids', dtype: 'I64', shape: [2], data: ids }], { dtype: 'bfloat16' });
    expect(openDump(path).metadata).toEqual({ dtype: 'bfloat16' });
    expect(read(path)).toEqual({ input_ids: ['I64', [2], [5, 7]] });
  });

  it('calls a lone array what its file is called, or the logits where that says nothing', () => {
    expect(read(stored('embeddings.npy', three))).toEqual({ embeddings: ['F32', [3], [1, 2, 3]] });
    expect(read(stored('theirs.npy', three))).toEqual({ logits: ['F32', [3], [1, 2, 3]] });
  });

  it('reads a folder of arrays, by the names of the files', () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'layers'));
    writeFileSync(join(folder, 'attn_norm-0.npy'), three);
    writeFileSync(join(folder, 'layers', '0.npy'), three);
    writeFileSync(join(folder, 'notes.txt'), 'not read');
    expect(Object.keys(read(folder))).toEqual(['attn_norm-0', 'layers/0']);
  });

  it('looks into a file whose ending says nothing', () => {
    const path = join(temporaryFolder(), 'theirs');
    writeSafetensors(path, [{ name: 'a', dtype: 'F32', shape: [1], data: new Float32Array(1) }]);
    expect(Object.keys(read(path))).toEqual(['a']);
    expect(Object.keys(read(stored('theirs', three)))).toEqual(['logits']);
    expect(Object.keys(read(stored('theirs', zip([{ name: 'a.npy', bytes: three }]))))).toEqual(['a']);
    expect(Object.keys(read(stored('theirs', ' {"a": [1]}')))).toEqual(['a']);
  });

  it.each([
    [
      'model.pt',
      'expected a .safetensors, .npy, .npz or .json file, or a folder of .npy and .safetensors files; a pickle can run code',
    ],
    ['model.gguf', 'a GGUF file holds weights'],
    ['out.txt', 'text loses digits'],
    ['out', 'got something else'],
  ])('says of %s what to do', (name, message) => {
    const path = stored(name, 'anything');
    expect(() => openDump(path)).toThrow(CheckpointError);
    expect(() => openDump(path)).toThrow(message);
  });

  it('refuses a file that is not there, a folder of nothing, and a checkpoint', () => {
    expect(() => openDump('/nowhere.npy')).toThrow('/nowhere.npy: there is no such file or folder.');
    expect(() => openDump(temporaryFolder())).toThrow('expected a folder of .npy or .safetensors files');
    expect(() => openDump(fixture('austen-llama'))).toThrow('this is a checkpoint, not a dump');
  });

  it('refuses a tensor that two files of a folder have', () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'a.npy'), three);
    writeSafetensors(join(folder, 'b.safetensors'), [
      { name: 'a', dtype: 'F32', shape: [1], data: new Float32Array(1) },
    ]);
    expect(() => openDump(folder)).toThrow('tensor a is in b.safetensors and in another file of the folder');
  });
});

describe('reading JSON', () => {
  it('reads nested arrays, flat ones with a shape, ids, metadata, and what Python writes for infinity', () => {
    const path = stored(
      'x.json',
      `{"logits": [[1, 2.5], [-Infinity, NaN]], "input_ids": [3, 4], "model": "mine", "seed": 3, "note": "NaN -Infinity",
        "tensors": {"embeddings": {"shape": [1, 2], "data": [0.1, 0.2], "dtype": "float32"}, "wide": [0.1]}}`,
    );
    expect(read(path)).toEqual({
      logits: ['F32', [2, 2], [1, 2.5, Number.NEGATIVE_INFINITY, Number.NaN]],
      input_ids: ['I64', [2], [3, 4]],
      embeddings: ['F32', [1, 2], [Math.fround(0.1), Math.fround(0.2)]],
      wide: ['F64', [1], [0.1]],
    });
    expect(openDump(path).metadata).toEqual({ model: 'mine', seed: '3', note: 'NaN -Infinity' });
  });

  it('reads an array alone as the logits, and rounds to 16 bits where the file says that they are', () => {
    expect(read(stored('x.json', '[[1, 2]]'))).toEqual({ logits: ['F32', [1, 2], [1, 2]] });
    const bfloat16 = '{"a": {"shape": [1], "data": [0.1], "dtype": "bfloat16"}}';
    expect(read(stored('x.json', bfloat16))).toEqual({ a: ['BF16', [1], [0.10009765625]] });
  });

  it.each([
    ['{"a": [[1, 2], [3]]}', 'tensor a: the arrays are ragged: expected 2 values at [1], got 1 values'],
    ['{"a": [[1, 2], 3]}', 'expected 2 values at [1], got 3'],
    ['{"a": [1, [2]]}', 'expected a number at [1], got 1 values'],
    ['{"a": [1, null]}', 'expected a number at [1], got null'],
    ['{"a": [1, "2"]}', 'expected a number at [1], got "2"'],
    ['{"a": {"shape": [3], "data": [1, 2]}}', 'shape [3] needs 3 values, got 2'],
    ['{"a": {"shape": [-1], "data": []}}', 'expected a shape of whole numbers'],
    ['{"a": {"shape": [1], "data": [1], "dtype": "q4_0"}}', 'the dtype "q4_0" is not known'],
    ['{"a": {"b": {"c": [1]}}}', 'expected an array of numbers'],
    ['{"a": [1], "tensors": {"a": [1]}}', 'tensor a: there are two of this name'],
    ['{"a": [1,}', 'expected JSON'],
    ['3', 'expected arrays by name'],
    [`{"a": ${'['.repeat(200)}1${']'.repeat(200)}}`, 'nested more than 100 deep'],
  ])('refuses %s', (text, message) => {
    const path = stored('x.json', text);
    expect(() => openDump(path)).toThrow(CheckpointError);
    expect(() => openDump(path)).toThrow(message);
    expect(() => openDump(path)).toThrow(path);
  });
});
