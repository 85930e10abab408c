/** What caches of well-known models cost, against figures that anyone can check, and of small ones against caches that run. */
import { describe, expect, it } from 'vitest';
import type { CacheName } from '../../attention/cache/index.js';
import { loadModel } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { inspect } from '../../src/reference/inspect.js';
import { MEMORY_FORMATS, type MemoryOptions, memoryReport } from '../../src/reference/memory.js';
import { type MemoryShape, shapeOfFolder } from '../../src/reference/memory-shape.js';
import { fed } from '../support/fed.js';
import { fixture } from '../support/fixtures.js';
import { preset, rowOf } from '../support/memory-rows.js';

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
