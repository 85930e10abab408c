/** Presets against what is published of the models. */
import { describe, expect, it } from 'vitest';
import { PRESETS, presetsNear } from '../../src/reference/presets.js';
import { preset, rowOf } from '../support/memory-rows.js';

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
