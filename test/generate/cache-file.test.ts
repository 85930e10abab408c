import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/safetensors/write.js';
import { loadCache, saveCache } from '../../src/generate/cache-file.js';
import { feed, generate } from '../../src/generate/generate.js';
import { assemble, type LoadOptions, loadModel, type Model } from '../../src/model/load.js';
import { flat } from '../../src/tensor/tensor.js';
import { expectSameBits } from '../support/bits.js';
import { copyOf, editJson } from '../support/checkpoint.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

const IDS = Array.from({ length: 40 }, (_, i) => (i * 37 + 5) % 256);
const MORE = [1, 2, 3, 250];
const NAME = 'tiny-llama-rope3-f16';

async function saved(model: Model): Promise<string> {
  const cache = model.components.newCache();
  await feed(model, IDS, cache, { from: 0, chunk: 7 });
  const path = join(temporaryFolder(), 'cache.safetensors');
  saveCache(path, cache, model);
  return path;
}

/** What a forger would write: the hash of what is there, in the order of the file format. */
function forgedHash(tensors: ReadonlyMap<string, TensorToWrite>): string {
  const hash = createHash('sha256');
  const names = ['ids', ...[0, 1].flatMap((i) => ['positions', 'keys', 'values'].map((name) => `layers.${i}.${name}`))];
  for (const name of names) {
    const { shape, data } = tensors.get(name)!;
    hash.update(`${name} ${shape.join('x')}\n`);
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex');
}

/** The logits of what follows: loaded, and fed whole. */
async function expectSameBeyond(saving: Model, loading: Model): Promise<void> {
  const cache = loadCache(await saved(saving), loading);
  expect([...cache.ids]).toEqual(IDS);
  const all = [...IDS, ...MORE];
  const found = flat(await feed(loading, all, cache, { from: IDS.length, logits: 'all' }));
  const plain = loading.components.newCache();
  const whole = flat(await feed(loading, all, plain, { from: 0, logits: 'all' }));
  expectSameBits(found, whole.slice(-found.length));
}

const window = { visibility: { kind: 'sinks', sinks: 2, window: 9 } } as const;

/** Affine, which would not come out the same if rows were quantised again. */
const INT4 = { dtype: 'int4', zero: 'affine', group: 8 } as const;
const KIVI = { ...INT4, keys: 'channel', group: 4, residual: 12 } as const;

describe('a saved cache', () => {
  it.each<[string, LoadOptions, LoadOptions]>([
    [NAME, {}, {}],
    [NAME, { cache: 'contiguous' }, { cache: 'radix', pageSize: 3 }],
    [NAME, { cache: 'paged' }, { cache: 'preallocated' }],
    [NAME, { attention: 'mha', precision: 'float64' }, { attention: 'mha', precision: 'float64', cache: 'prefix' }],
    [NAME, { precision: 'float64', kvDtype: 'float32' }, { precision: 'float64', kvDtype: 'float32' }],
    [NAME, { kvDtype: 'bfloat16' }, { kvDtype: 'bfloat16', cache: 'paged' }],
    [NAME, { kvDtype: 'fp8_e4m3', cache: 'paged' }, { kvDtype: 'fp8_e4m3' }],
    [NAME, { kvDtype: INT4, cache: 'preallocated' }, { kvDtype: INT4, cache: 'radix', pageSize: 3 }],
    [NAME, { kvDtype: KIVI }, { kvDtype: KIVI, cache: 'prefix', pageSize: 8 }],
    [NAME, { ...window, kvDtype: KIVI, cache: 'ring' }, { ...window, kvDtype: KIVI, cache: 'ring' }],
    [NAME, { ...window, kvDtype: KIVI, cache: 'paged', pageSize: 4 }, { ...window, kvDtype: KIVI, cache: 'ring' }],
    [NAME, { ...window, cache: 'ring' }, { ...window, cache: 'ring' }],
    [NAME, { ...window, cache: 'contiguous' }, { ...window, cache: 'ring' }],
    [NAME, { ...window, cache: 'ring', positions: 'in-cache' }, { ...window, cache: 'ring', positions: 'in-cache' }],
    ['tiny-deepseek-v3-bf16', { attention: 'mla' }, { attention: 'mla', cache: 'paged' }],
    ['tiny-gpt-oss-bf16', { cache: 'ring' }, { cache: 'ring' }],
  ])('of %s with %j goes on with %j to the same bits', async (name, saving, loading) => {
    await expectSameBeyond(loadModel(fixture(name), saving), loadModel(fixture(name), loading));
  });

  it.each<[LoadOptions, string]>([
    [{ precision: 'float64', kvDtype: 'float32' }, 'precision = float32, and this run has float64'],
    [{ attention: 'mha' }, 'attention = gqa, and this run has mha'],
    [{ visibility: { kind: 'sliding', window: 9 } }, 'visibility = causal, and this run has sliding 9'],
    [{ positions: 'in-cache' }, 'positions = absolute, and this run has in-cache'],
    [{ kvDtype: INT4 }, 'kvDtype = float32, and this run has int4, affine, groups of 8'],
    [{ kernel: 'flash' }, 'kernel = reference, and this run has flash'],
  ])('is refused for a run with %j', async (options, message) => {
    const path = await saved(loadModel(fixture(NAME)));
    expect(() => loadCache(path, loadModel(fixture(NAME), options))).toThrow(message);
  });

  it('is refused for other weights, and for another config', async () => {
    const path = await saved(loadModel(fixture(NAME)));
    expect(() => loadCache(path, loadModel(fixture('tiny-mistral-f16')))).toThrow('another config.json than');
    const config = copyOf(NAME);
    editJson(join(config, 'config.json'), (keys) => ({ ...keys, rms_norm_eps: 1e-5 }));
    expect(() => loadCache(path, loadModel(config))).toThrow('another config.json than');
    const weights = copyOf(NAME);
    const file = join(weights, 'model.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
    expect(() => loadCache(path, loadModel(weights))).toThrow('another model.safetensors than');
  });

  it('is refused where keys of the config were ignored, or the config was changed, when it was saved or is loaded', async () => {
    const ignored = { ignoreConfigKeys: ['rope_parameters'] };
    const path = await saved(loadModel(fixture(NAME), ignored));
    expect(loadCache(path, loadModel(fixture(NAME), ignored)).next).toBe(IDS.length);
    const other = 'another config as it was understood than';
    expect(() => loadCache(path, loadModel(fixture(NAME)))).toThrow(other);
    const { config, weights, options, files } = loadModel(fixture(NAME));
    const changed = { ...config, finalNorm: { ...config.finalNorm!, eps: 1 } };
    expect(() => loadCache(path, assemble(changed, weights, options, files))).toThrow(other);
  });

  it('is not written while a pass is under way', async () => {
    const model = loadModel(fixture(NAME));
    const cache = model.components.newCache();
    await feed(model, IDS, cache, { from: 0 });
    cache.begin(Int32Array.of(IDS.length), [1]);
    expect(() => saveCache(join(temporaryFolder(), 'x'), cache, model)).toThrow('A pass is under way');
  });

  it('that keeps too few rows is refused by a cache that keeps all', async () => {
    const path = await saved(loadModel(fixture(NAME), { ...window, cache: 'ring' }));
    const contiguous = loadModel(fixture(NAME), window);
    expect(() => loadCache(path, contiguous)).toThrow('of the 40 saved ones only 11 have rows');
  });

  it('whose rows do not come in the runs that share scales is refused, even with a hash of its own', async () => {
    const options: LoadOptions = { ...window, kvDtype: KIVI, cache: 'ring' };
    const model = loadModel(fixture(NAME), options);
    const path = await saved(model);
    const tensors: TensorToWrite[] = [];
    const metadata = withSafetensors(path, (file) => {
      for (const { name, dtype, shape } of file.tensors.values()) {
        const bytes = file.read(name);
        const data = dtype === 'I32' ? new Int32Array(bytes) : new Uint8Array(bytes);
        if (/positions$/.test(name) && !name.includes('residual')) for (const i of data.keys()) data[i]! += 1;
        tensors.push({ name, dtype, shape, data });
      }
      return Object.fromEntries(file.metadata);
    });
    writeSafetensors(path, tensors, metadata);
    expect(() => loadCache(path, model)).toThrow('layers.0.positions do not ascend below the 40 tokens');
  });

  it('of scaled fp8 rows is refused with other scales', async () => {
    const amax = loadModel(fixture(NAME)).components.schemas.map(() => ({ keys: [3, 4], values: [5, 6] }));
    const scaled = (of: typeof amax): LoadOptions => ({ kvDtype: { dtype: 'fp8_e4m3', scale: 'head', amax: of } });
    const path = await saved(loadModel(fixture(NAME), scaled(amax)));
    expect(loadCache(path, loadModel(fixture(NAME), scaled(amax))).next).toBe(IDS.length);
    const others = amax.map((layer) => ({ ...layer, keys: [3, 5] }));
    expect(() => loadCache(path, loadModel(fixture(NAME), scaled(others)))).toThrow('saved with kvScales = ');
  });

  it('that was changed is refused, whatever was changed', async () => {
    const model = loadModel(fixture(NAME));
    const path = await saved(model);
    const change = (edit: (tensors: Map<string, TensorToWrite>, metadata: Map<string, string>) => void) => {
      const [tensors, metadata] = withSafetensors(path, (file) => {
        const all = [...file.tensors.values()].map(({ name, dtype, shape }): [string, TensorToWrite] => {
          const bytes = file.read(name);
          return [
            name,
            { name, dtype, shape, data: dtype === 'I32' ? new Int32Array(bytes) : new Float32Array(bytes) },
          ];
        });
        return [new Map(all), new Map(file.metadata)];
      });
      edit(tensors, metadata);
      const changed = join(temporaryFolder(), 'changed.safetensors');
      writeSafetensors(changed, [...tensors.values()], Object.fromEntries(metadata));
      return () => loadCache(changed, model);
    };
    expect(change(() => {})().next).toBe(IDS.length);
    const damaged = 'the file is damaged';
    expect(change((tensors) => (tensors.get('ids')!.data[3] = 9))).toThrow(damaged);
    expect(change((tensors) => (tensors.get('layers.1.keys')!.data[3] = 1e-6))).toThrow(damaged);
    expect(change((tensors) => (tensors.get('layers.0.positions')!.data[3] = 9))).toThrow('do not ascend');
    expect(change((tensors) => tensors.delete('layers.1.values'))).toThrow('there is no tensor "layers.1.values"');
    expect(change((_, metadata) => metadata.delete('contents_sha256'))).toThrow(damaged);
    for (const text of ['{', 'null', '[]', '{"a": 1}']) {
      expect(change((_, metadata) => metadata.set('options', text))).toThrow('is not the JSON object of texts');
      expect(change((_, metadata) => metadata.set('sha256', text))).toThrow(
        /is not the JSON object|another config.json/,
      );
    }
    const again = (edit: Parameters<typeof change>[0]) =>
      change((tensors, metadata) => {
        edit(tensors, metadata);
        metadata.set('contents_sha256', forgedHash(tensors));
      });
    expect(again(() => {})().next).toBe(IDS.length);
    expect(again((tensors) => tensors.get('layers.0.positions')!.data.reverse())).toThrow('do not ascend below the 40');
    expect(again((tensors) => (tensors.get('layers.1.positions')!.data[39] = 40))).toThrow('do not ascend below');
    const replace = (name: string, tensor: Partial<TensorToWrite>) =>
      again((tensors) => tensors.set(name, { ...tensors.get(name)!, name, ...tensor } as TensorToWrite));
    expect(replace('ids', { dtype: 'U16', data: new Uint16Array(40) })).toThrow('expected I32 [40], got U16 [40]');
    expect(replace('ids', { shape: [0], data: new Int32Array(0) })).toThrow('holds no tokens');
    expect(replace('layers.0.keys', { shape: [40, 16, 2] })).toThrow('expected F32 [40, 2, 16], got F32 [40, 16, 2]');
    expect(replace('more', { dtype: 'I32', shape: [1], data: new Int32Array(1) })).toThrow(damaged);
    expect(change((_, metadata) => metadata.set('format', 'gguf'))).toThrow(
      "expected a saved cache (format touchstone-cache-1), got format 'gguf'",
    );
  });

  it('needs something to save, a model that comes from files, and a cache that keeps rows', async () => {
    const model = loadModel(fixture(NAME));
    const cache = model.components.newCache();
    expect(() => saveCache('/nowhere', cache, model)).toThrow('holds no tokens');
    await feed(model, IDS, cache, { from: 0 });
    expect(() => saveCache('/nowhere', cache, assemble(model.config, model.weights))).toThrow(
      'was not read from files',
    );
    expect(() => saveCache('/nowhere/cache', cache, model)).toThrow('/nowhere/cache: cannot be written (ENOENT).');
    const path = await saved(model);
    expect(() => loadCache(path, loadModel(fixture(NAME), { cache: 'none' }))).toThrow('keeps nothing');
    expect(() => loadCache(fixture(`${NAME}/model.safetensors`), model)).toThrow('expected a saved cache');
  });
});

describe('generation from a cache', () => {
  it('that holds other tokens than the prompt begins with is refused', async () => {
    const model = loadModel(fixture(NAME));
    const cache = model.components.newCache();
    await feed(model, [1, 2, 3], cache, { from: 0 });
    expect(() => generate(model, [1, 2, 4, 5], cache, { maxNewTokens: 1 })).toThrow('goes another way from token 2 on');
  });

  it('takes over what another sequence has left in the pool, and gives the same tokens', async () => {
    const made: number[][] = [];
    const counts: number[] = [];
    for (const cache of ['prefix', 'radix', 'contiguous'] as const) {
      const model = loadModel(fixture(NAME), { cache });
      for (let round = 0; round < 2; round++) {
        const own = model.components.newCache();
        const ids: number[] = [];
        for await (const { id } of generate(model, IDS, own, { maxNewTokens: 5 })) ids.push(id);
        made.push(ids);
        own.release();
        const again = model.components.newCache();
        counts.push(again.adopt(IDS));
      }
    }
    expect(new Set(made.map(String)).size).toBe(1);
    expect(counts).toEqual([32, 32, 32, 32, 0, 0]);
  });
});
