/** What caches of well-known models cost, against figures that anyone can check, and of small ones against caches that run. */
import { describe, expect, it } from 'vitest';
import type { CacheName } from '../../attention/cache/index.js';
import type { StrategyName } from '../../attention/strategy/index.js';
import { loadModel } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { inspect } from '../../src/reference/inspect.js';
import { MEMORY_FORMATS, type MemoryOptions, type MemoryRow, memoryReport } from '../../src/reference/memory.js';
import { type MemoryShape, shapeOfFolder } from '../../src/reference/memory-shape.js';
import { PRESETS, presetOf, presetsNear } from '../../src/reference/presets.js';
import { fed } from '../support/fed.js';
import { fixture } from '../support/fixtures.js';

/** The row of a strategy (the model's own by default) and a form of the cache. */
function rowOf(shape: MemoryShape, kvDtype: string, options: MemoryOptions = {}, strategy?: StrategyName): MemoryRow {
  const { rows } = memoryReport(shape, options);
  return rows.find((row) => row.kvDtype === kvDtype && (strategy ? row.strategy === strategy : row.own))!;
}

const preset = (name: string) => presetOf(name)!;

describe('facts', () => {
  const multiHead: MemoryShape = {
    name: '80 layers, 8,192 wide',
    layers: Array.from({ length: 80 }, () => ({
      attention: { kind: 'grouped' as const, queryHeads: 64, keyValueHeads: 64, headDim: 128 },
      visibility: { kind: 'causal' as const },
    })),
    context: 4096,
    weights: null,
  };

  it('Llama 3 70B stores 327,680 bytes a token at 16 bit', () => {
    expect(rowOf(preset('llama-3-70b'), 'bfloat16').bytesPerToken).toEqual({ values: 327_680, stored: 327_680 });
  });

  it('an MHA model of 80 layers and a width of 8,192 takes 10.7 GB for 4,096 tokens at 16 bit', () => {
    expect(rowOf(multiHead, 'bfloat16').sequence.ideal).toBe(2 * 80 * 8192 * 4096 * 2);
    expect(rowOf(multiHead, 'bfloat16').sequence.ideal! / 1e9).toBeCloseTo(10.7, 1);
    expect(rowOf(multiHead, 'bfloat16').strategy).toBe('mha');
  });

  it('8 sequences of 128k tokens of Llama 3 70B take 343.6 GB', () => {
    const { batch } = rowOf(preset('llama-3-70b'), 'bfloat16', { context: 131_072, batch: 8 });
    expect(batch.ideal).toBe(327_680 * 131_072 * 8);
    expect(batch.ideal! / 1e9).toBeCloseTo(343.6, 1);
    expect(batch).toEqual({
      ideal: batch.ideal,
      contiguous: batch.ideal,
      paged: batch.ideal,
      preallocated: batch.ideal,
      ring: null,
    });
  });

  it('8 key/value heads for 64 query heads store an eighth, and one stores an eighth of that', () => {
    for (const kvDtype of Object.keys(MEMORY_FORMATS)) {
      const [mha, gqa, mqa] = (['mha', 'gqa', 'mqa'] as const).map((strategy) => {
        return rowOf(preset('llama-3-70b'), kvDtype, {}, strategy).bytesPerToken;
      });
      expect([mha!.values / gqa!.values, mha!.stored / gqa!.stored, gqa!.stored / mqa!.stored]).toEqual([8, 8, 8]);
    }
  });

  it.each([
    ['float32', 2, 2],
    ['bfloat16', 1, 1],
    ['fp8_e4m3', 1 / 2, 1 / 2],
    ['int8', 1 / 2, (1 + 2 / 32) / 2], // a float16 scale for each 32 values
    ['int8 affine', 1 / 2, (1 + 4 / 32) / 2], // and a minimum
    ['int4', 1 / 4, (1 / 2 + 2 / 32) / 2],
    ['int4 affine', 1 / 4, (1 / 2 + 4 / 32) / 2],
    ['int4 affine by channel', 1 / 4, (1 / 2 + 4 / 32) / 2], // for each 32 tokens of a channel of the keys
  ])('%s stores %f of 16 bit, and %f with its scales', (kvDtype, values, stored) => {
    expect(rowOf(preset('llama-3-70b'), kvDtype).ratio).toEqual({ values, stored });
  });

  it('DeepSeek-V3 stores 576 values a layer and token', () => {
    expect(rowOf(preset('deepseek-v3'), 'bfloat16').bytesPerToken.values).toBe(61 * 576 * 2);
    expect(rowOf(preset('deepseek-v3'), 'bfloat16').strategy).toBe('mla');
    expect(rowOf(preset('deepseek-v3'), 'bfloat16', {}, 'mla-naive').bytesPerToken.values).toBe(
      61 * 128 * (192 + 128) * 2,
    );
  });
});

describe('presets', () => {
  it.each<[name: string, bytesPerToken: number, weights: number]>([
    ['llama-2-7b', 524_288, 13476831232],
    ['llama-2-70b', 327_680, 137953296384],
    ['llama-3-8b', 131_072, 16060522496],
    ['llama-3-70b', 327_680, 141107412992],
    ['llama-3.1-8b', 131_072, 16060522496],
    ['llama-3.1-70b', 327_680, 141107412992],
    ['mistral-7b-v0.1', 131_072, 14483464192],
    ['gemma-3-1b', 26_624, 1999771904],
    ['gemma-3-4b', 139_264, 7760526336],
    ['gemma-3-12b', 393_216, 23532068352],
    ['gemma-3-27b', 507_904, 54018692608],
    ['qwen3-0.6b', 114_688, 1192099840],
    ['qwen3-1.7b', 114_688, 3441149952],
    ['qwen3-4b', 147_456, 8044936192],
    ['qwen3-8b', 147_456, 16381470720],
    ['qwen3-14b', 163_840, 29536614400],
    ['qwen3-32b', 262_144, 65524246528],
    ['qwen3-30b-a3b', 98_304, 61064245248],
    ['qwen3-235b-a22b', 192_512, 470187269120],
    ['gpt-oss-20b', 49_152, 13761264768],
    ['gpt-oss-120b', 73_728, 65248815744],
    ['deepseek-v2', 69_120, 471482869760],
    ['deepseek-v3', 70_272, 673150611808],
  ])('%s stores %i bytes a token at 16 bit, and its weights take %i', (name, bytesPerToken, weights) => {
    expect(rowOf(preset(name), 'bfloat16').bytesPerToken.stored).toBe(bytesPerToken);
    expect(preset(name).weights).toBe(weights);
  });

  it('are all in that table, each once', () => {
    const sizes = PRESETS.map(({ name, context, layers }) => {
      const windows = layers.map(({ visibility }) => (visibility.kind === 'sliding' ? visibility.window : 0));
      return `${name} ${context} ${[...new Set(windows)].map((window) => `${windows.filter((w) => w === window).length}x${window}`)}`;
    });
    expect(sizes).toEqual([
      'llama-2-7b 4096 32x0', 'llama-2-70b 4096 80x0', 'llama-3-8b 8192 32x0', 'llama-3-70b 8192 80x0', 'llama-3.1-8b 131072 32x0',
      'llama-3.1-70b 131072 80x0', 'mistral-7b-v0.1 32768 32x4096', 'gemma-3-1b 32768 22x512,4x0', 'gemma-3-4b 131072 29x1024,5x0',
      'gemma-3-12b 131072 40x1024,8x0', 'gemma-3-27b 131072 52x1024,10x0', 'qwen3-0.6b 40960 28x0', 'qwen3-1.7b 40960 28x0',
      'qwen3-4b 40960 36x0', 'qwen3-8b 40960 36x0', 'qwen3-14b 40960 40x0', 'qwen3-32b 40960 64x0', 'qwen3-30b-a3b 40960 48x0',
      'qwen3-235b-a22b 40960 94x0', 'gpt-oss-20b 131072 12x128,12x0', 'gpt-oss-120b 131072 18x128,18x0', 'deepseek-v2 163840 60x0',
      'deepseek-v3 163840 61x0',
    ]); // biome-ignore format: a list
    expect(PRESETS.length).toBe(23);
    expect(new Set(PRESETS.map(({ name }) => name)).size).toBe(23);
  });

  it('forget what their windows no longer see', () => {
    const tokens = 131_072;
    const layer = 2 * 2 * 8 * 64; // a token in one layer of gpt-oss
    const { sequence } = rowOf(preset('gpt-oss-120b'), 'bfloat16');
    expect(sequence.ideal).toBe(18 * layer * (tokens + 128));
    expect(sequence.ring).toBe(18 * layer * (tokens + 128 + 1)); // and room for the row of a pass
    expect(sequence.paged).toBe(36 * layer * tokens);
    // every sixth layer of 62 sees everything
    const gemma = rowOf(preset('gemma-3-27b'), 'bfloat16').sequence.ideal;
    expect(gemma).toBe(2 * 2 * 16 * 128 * (10 * tokens + 52 * 1024));
    expect(rowOf(preset('mistral-7b-v0.1'), 'bfloat16').sequence.ideal).toBe(131_072 * 4096);
  });

  it('are found by names that are written nearly so', () => {
    expect(presetsNear('llama3-70b')[0]).toBe('llama-3-70b');
    expect(presetsNear('Qwen3_30B')[0]).toBe('qwen3-30b-a3b');
    expect(presetsNear('zzz')).toEqual([]);
  });
});

describe.each(['tiny-llama-rope3-f16', 'tiny-deepseek-v3-bf16', 'tiny-gpt-oss-bf16', 'tiny-mistral-f16'])(
  '%s',
  (name) => {
    const folder = fixture(name);
    const shape = shapeOfFolder(folder);
    const options = { context: 150, maxContext: 170, pageSize: 32 };
    const { rows } = memoryReport(shape, options);

    it.each(Object.keys(MEMORY_FORMATS))('takes in %s what its caches hold', (kvDtype) => {
      for (const { strategy, sequence } of rows.filter((row) => row.kvDtype === kvDtype)) {
        if (strategy === 'mqa') continue; // needs a converted checkpoint
        for (const cache of ['contiguous', 'paged', 'preallocated', 'ring'] satisfies CacheName[]) {
          if (sequence[cache] === null) continue;
          const choices = {
            attention: strategy,
            cache,
            kvDtype: MEMORY_FORMATS[kvDtype]!,
            cacheTokens: 170,
            pageSize: 32,
          };
          const { components } = loadModel(folder, choices);
          const held = fed(components.newCache(), {
            layers: components.schemas,
            precision: 'float32',
            tokens: 150,
            prompt: 0,
          });
          expect(sequence[cache], `${strategy} ${cache}`).toBe(held.bytes().allocated);
        }
      }
    });

    it('has the bytes a token of its inspection, and the bytes of its files', () => {
      const { kvBytesPerToken, dtypes } = inspect(folder);
      for (const kvDtype of ['float32', 'bfloat16', 'fp8_e4m3', 'int8', 'int4']) {
        expect(rows.find((row) => row.own && row.kvDtype === kvDtype)!.bytesPerToken.stored).toBe(
          kvBytesPerToken[kvDtype],
        );
      }
      expect(shape.weights).toBe(Object.values(dtypes).reduce((sum, { bytes }) => sum + bytes, 0));
    });

    it('takes what a text that really runs takes', async () => {
      const model = loadModel(folder, { cache: 'paged', pageSize: 32, kvDtype: 'int8' });
      const cache = model.components.newCache();
      for (let i = 0; i < 40; i++) await forward(model, [{ ids: [i], cache }]);
      const { sequence } = rowOf(shape, 'int8', { ...options, context: 40 });
      expect(cache.bytes().allocated).toBe(sequence.paged);
    });
  },
);

describe('a report', () => {
  it('subtracts the weights, and fits whole sequences', () => {
    const { weights } = preset('llama-3-8b');
    const one = 131_072 * 1000;
    const options = { context: 1000, pageSize: 16, maxContext: 2000 };
    const most = (memory: number) => rowOf(preset('llama-3-8b'), 'bfloat16', { ...options, memory }).largestBatch!;
    expect(most(weights)).toEqual({ ideal: 0, contiguous: 0, paged: 0, preallocated: 0, ring: null });
    expect([most(weights + 3 * one - 1).ideal, most(weights + 3 * one).ideal]).toEqual([2, 3]);
    // pages of 16 hold 1008 tokens, contiguous arrays 1024, preallocated ones 2000
    const [paged, contiguous] = [131_072 * 1008, 131_072 * 1024];
    expect([most(weights + 7 * paged - 1).paged, most(weights + 7 * paged).paged]).toEqual([6, 7]);
    expect(most(weights + 7 * contiguous).contiguous).toBe(7);
    expect([most(weights + 4 * one - 1).preallocated, most(weights + 4 * one).preallocated]).toEqual([1, 2]);
    expect(rowOf(preset('llama-3-8b'), 'bfloat16', options).largestBatch).toBe(null);
    expect(rowOf(preset('llama-3-8b'), 'bfloat16', { ...options, weights: 0, memory: one }).largestBatch!.ideal).toBe(
      1,
    );
  });

  it('shows strategies that store the same once, and marks the model’s own', () => {
    const strategies = (name: string) => {
      const rows = memoryReport(preset(name)).rows.filter(({ kvDtype }) => kvDtype === 'bfloat16');
      return rows.map(({ strategy, own }) => (own ? `${strategy} *` : strategy));
    };
    expect(strategies('llama-2-7b')).toEqual(['mha *', 'mqa']);
    expect(strategies('llama-2-70b')).toEqual(['mha', 'gqa *', 'mqa']);
    expect(strategies('gemma-3-1b')).toEqual(['mha', 'mqa *']);
    expect(strategies('deepseek-v2')).toEqual(['mla-naive', 'mla *']);
  });

  it('says why a cache is refused, and counts the residual in float32', () => {
    const row = rowOf(preset('llama-3-8b'), 'int4 affine by channel', { context: 1000 });
    expect(row.sequence.paged).toBe(null);
    expect(row.refused.paged).toContain('Pages of 16 tokens would cut the groups of 32 tokens');
    expect(row.refused.ring).toContain('Cache ring');
    expect(row.residual).toBe(128);
    const [values, float] = [65_536, 4];
    expect(row.sequence.ideal).toBe(896 * 40_960 + 104 * values * float); // 7 blocks of 128, and 104 tokens that wait
    expect(row.sequence.contiguous).toBe(1024 * 40_960 + 128 * values * float);
  });

  it.each<[options: MemoryOptions, message: string]>([
    [{ context: 0 }, 'context (--context): expected a whole number of at least 1, got 0'],
    [{ batch: 1.5 }, 'batch (--batch): expected a whole number'],
    [{ pageSize: -1 }, 'pageSize (--page-size)'],
    [{ maxContext: 5 }, 'cannot hold the context of 8192; give at least 8192'],
    [{ memory: 1e9 }, 'the weights of llama-3-8b take 16060522496 bytes, and the memory has 1000000000'],
    [{ memory: -1 }, 'memory (--memory): expected a whole number'],
    [{ weights: 0.5 }, 'weights (--weights): expected a whole number'],
    [{ batch: 2 ** 50 }, 'beyond what can be counted exactly'],
  ])('refuses %j', (options, message) => {
    expect(() => memoryReport(preset('llama-3-8b'), options)).toThrow(message);
  });
});
