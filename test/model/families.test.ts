/** What the families' configs make of themselves, and what they refuse. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { familyOf } from '../../src/model/families/index.js';
import { type LoadOptions, loadModel } from '../../src/model/load.js';
import { fixture } from '../support/fixtures.js';

type Json = Record<string, unknown>;

function configure(name: string, change: Json = {}, without: readonly string[] = []) {
  const raw = { ...(JSON.parse(readFileSync(fixture(`${name}/config.json`), 'utf8')) as Json), ...change };
  for (const key of without) delete raw[key];
  return familyOf(raw, 'config.json').configure(raw, { file: 'config.json', ropeLength: null });
}

const [MISTRAL, DEEPSEEK, OSS] = ['tiny-mistral-f16', 'tiny-deepseek-v3-bf16', 'tiny-gpt-oss-bf16'];

describe('choices', () => {
  const load = (options: object) => () => loadModel(fixture(MISTRAL!), options as LoadOptions);

  it.each<[object, string]>([
    [{ cache: 'foo' }, 'cache: expected one of none, contiguous, preallocated, ring, paged, prefix, radix, got "foo".'],
    [{ attention: 'toString' }, 'attention: expected one of mha, mqa, gqa, mla, mla-naive, got "toString".'],
    [{ kernel: 'magic' }, 'kernel: expected one of reference, flash, gpu, got "magic".'],
    [{ positions: 'relative' }, 'positions: expected one of absolute, in-cache, got "relative".'],
    [
      { kvDtype: 'int9' },
      'kvDtype: expected one of float32, float64, float16, bfloat16, fp8_e4m3, fp8_e5m2, int8, int4, got "int9".',
    ],
    [{ precision: 'float8' }, 'precision: expected one of float32, float64, bfloat16, float16, got "float8".'],
    [{ visibility: 'sliding' }, 'Visibility "sliding": expected { kind, ... }'],
    [{ cache: 'paged', pageSize: 2.5 }, 'pageSize (--page-size): expected a whole number of at least 1, got 2.5.'],
    [{ cache: 'radix', poolPages: 0 }, 'poolPages (--pool-pages): expected a whole number of at least 1, got 0.'],
    [{ cache: 'preallocated', cacheTokens: -1 }, 'cacheTokens (--cache-tokens): expected a whole number'],
  ])('%j is refused with a sentence', (options, message) => {
    expect(load(options)).toThrow(message);
  });

  it('that are undefined are as if they were not given', () => {
    expect(load({ cache: undefined, kernel: undefined })().components.chosen).toEqual(load({})().components.chosen);
  });
});

describe('mistral', () => {
  it('has the window of its file, none where it is null, and 4,096 where the file says nothing', () => {
    const visibility = (change: Json, without: string[] = []) =>
      configure(MISTRAL, change, without).layers[0]!.visibility;
    expect(visibility({})).toEqual({ kind: 'sliding', window: 16 });
    expect(visibility({ sliding_window: null })).toEqual({ kind: 'causal' });
    expect(visibility({}, ['sliding_window'])).toEqual({ kind: 'sliding', window: 4096 });
  });
});

describe('deepseek_v3', () => {
  it('scales its scores by the square of what mscale_all_dim makes of the factor', () => {
    const scale = (change: Json) => (configure(DEEPSEEK, change).layers[0]!.attention as { scale: number }).scale;
    expect(scale({})).toBeCloseTo((0.08 * Math.log(4) + 1) ** 2 / Math.sqrt(24), 14);
    expect(scale({ rope_parameters: { rope_type: 'default', rope_theta: 10000 } })).toBeCloseTo(1 / Math.sqrt(24), 14);
  });

  it('takes what the published files say beside what transformers writes', () => {
    const published = {
      scoring_func: 'sigmoid',
      topk_method: 'noaux_tc',
      moe_layer_freq: 1,
      ep_size: 1,
      seq_aux: true,
      aux_loss_alpha: 0.001,
    };
    expect(configure(DEEPSEEK, published)).toEqual(configure(DEEPSEEK));
    expect(() => configure(DEEPSEEK, { scoring_func: 'softmax' })).toThrow('scoring_func');
    expect(() => configure(DEEPSEEK, { topk_method: 'greedy' })).toThrow('topk_method');
  });

  it('has dense layers first, and queries with or without a latent of their own', () => {
    const kinds = (change: Json) => configure(DEEPSEEK, change).layers.map(({ feedForward }) => feedForward.kind);
    expect(kinds({})).toEqual(['gated', 'experts', 'experts']);
    expect(kinds({ first_k_dense_replace: 3 })).toEqual(['gated', 'gated', 'gated']);
    expect(configure(DEEPSEEK, { q_lora_rank: null }).layers[0]!.attention).toMatchObject({ queryRank: null });
  });

  it.each<[Json, string]>([
    [{ n_group: 3 }, 'n_routed_experts = 8 does not make n_group = 3 groups of two or more'],
    [{ n_group: 8 }, 'n_routed_experts = 8 does not make n_group = 8 groups of two or more'],
    [{ topk_group: 5 }, 'topk_group = 5 groups cannot be chosen from 4'],
    [{ num_experts_per_tok: 5 }, 'num_experts_per_tok = 5 of topk_group = 2 groups cannot be chosen'],
    [{ qk_rope_head_dim: 7 }, 'the head dim 7 (qk_rope_head_dim) must be an even whole number'],
  ])('refuses %j', (change, message) => {
    expect(() => configure(DEEPSEEK, change)).toThrow(message);
  });
});

describe('gpt_oss', () => {
  it('sees windows and everything by turns, from a window on, unless the file says otherwise', () => {
    const kinds = (change: Json, without: string[] = []) =>
      configure(OSS, change, without).layers.map(({ visibility }) => visibility.kind);
    expect(kinds({}, ['layer_types'])).toEqual(['sliding', 'causal', 'sliding', 'causal']);
    expect(kinds({ layer_types: Array(4).fill('full_attention') })).toEqual(Array(4).fill('causal'));
  });

  it('has yarn where the file says nothing of rope', () => {
    const { rope } = configure(OSS, { head_dim: 64 }, ['rope_parameters']).layers[0]!.attention;
    expect(rope!.magnitude).toBeCloseTo(0.1 * Math.log(32) + 1, 14);
    expect(rope!.frequencies[31]! * 32).toBeCloseTo(150000 ** (-62 / 64), 12);
  });

  it.each<[Json, string]>([
    [{ layer_types: ['full_attention'] }, 'layer_types has 1 entries, and num_hidden_layers = 4'],
    [{ layer_types: Array(5).fill('full_attention') }, 'layer_types has 5 entries, and num_hidden_layers = 4'],
    [{ num_experts_per_tok: 5 }, 'num_experts_per_tok = 5 exceeds num_local_experts = 4'],
    [{ experts_per_token: 3 }, 'experts_per_token = 3 contradicts num_experts_per_tok = 2'],
    [{ quantization_config: {} }, 'the key quantization_config.quant_method is missing'],
    [{ quantization_config: { quant_method: 'awq' } }, 'quant_method = "awq" is not supported'],
  ])('refuses %j', (change, message) => {
    expect(() => configure(OSS, change)).toThrow(message);
  });
});
