/** What the configs of Gemma, Qwen, SmolLM3, EXAONE 4 and OLMo make of themselves, and what they refuse. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { GroupedConfig } from '../../attention/strategy/strategy.js';
import type { ModelConfig } from '../../src/model/config.js';
import { familyOf } from '../../src/model/families/index.js';
import { fixture } from '../support/fixtures.js';

type Json = Record<string, unknown>;

function configured(raw: Json): ModelConfig {
  return familyOf(raw, 'config.json').configure(raw, { file: 'config.json', ropeLength: null });
}

/** A fixture's config with changes; a key that becomes undefined is gone. */
function changed(name: string, change: Json = {}): ModelConfig {
  const raw = { ...(JSON.parse(readFileSync(fixture(`families/${name}/config.json`), 'utf8')) as Json), ...change };
  return configured(Object.fromEntries(Object.entries(raw).filter(([, value]) => value !== undefined)));
}

const attention = ({ layers }: ModelConfig, index = 0) => layers[index]!.attention as GroupedConfig;

/** A letter for each layer: w for a window, c for everything before; in capitals where the layer has rope. */
const pattern = ({ layers }: ModelConfig) =>
  layers
    .map(({ visibility, attention: { rope } }) => {
      const letter = visibility.kind === 'sliding' ? 'w' : 'c';
      return rope ? letter.toUpperCase() : letter;
    })
    .join('');

/** The theta of a rope that is not scaled. */
const thetaOf = ({ rope }: GroupedConfig) => Math.round(rope!.frequencies[1]! ** (-rope!.dim / 2));

const biasOf = ({ layers }: ModelConfig) => layers[0]!.attentionBias;

describe('gemma', () => {
  const published = {
    architectures: ['GemmaForCausalLM'], attention_bias: false, attention_dropout: 0, bos_token_id: 2, eos_token_id: 1, head_dim: 256,
    hidden_act: 'gelu', hidden_size: 2048, initializer_range: 0.02, intermediate_size: 16384, max_position_embeddings: 8192, model_type: 'gemma',
    num_attention_heads: 8, num_hidden_layers: 18, num_key_value_heads: 1, pad_token_id: 0, rms_norm_eps: 1e-6, rope_scaling: null,
    rope_theta: 10000, torch_dtype: 'bfloat16', transformers_version: '4.38.0.dev0', use_cache: true, vocab_size: 256000,
  }; // biome-ignore format: a config

  it('reads the published 2B model: one key/value head, tied, with the approximate GELU that its file means by gelu', () => {
    const config = configured(published);
    expect(attention(config)).toMatchObject({ queryHeads: 8, keyValueHeads: 1, headDim: 256, scale: 1 / 16 });
    expect(config.head.tied).toBe(true);
    expect(config.embedding.scale).toBe(Math.sqrt(2048));
    expect(config.finalNorm).toMatchObject({ kind: 'rms', weightOffset: 1, eps: 1e-6 });
    expect(config.layers[0]!.feedForward).toMatchObject({ kind: 'gated', activation: 'gelu_pytorch_tanh' });
  });

  it('keeps another activation, and has the sizes of the 7B model where a file leaves them out', () => {
    expect(changed('gemma', { hidden_act: 'silu' }).layers[0]!.feedForward).toMatchObject({ activation: 'silu' });
    const { head_dim, num_key_value_heads, max_position_embeddings, ...rest } = published;
    const config = configured({ ...rest, num_attention_heads: 16 });
    expect(attention(config)).toMatchObject({ keyValueHeads: 16, headDim: 256 });
    expect(config.context).toBe(8192);
  });

  it.each<[Json, string]>([
    [{ use_bidirectional_attention: true }, 'only attention to earlier tokens is supported'],
    [{ hidden_activation: 'gelu' }, 'the key hidden_activation = "gelu" is not valid'],
  ])('refuses %j', (change, message) => {
    expect(() => changed('gemma', change)).toThrow(message);
  });
});

describe('gemma2', () => {
  it('has windows and everything by turns, and the caps of the published files where they are not said', () => {
    const said = ['layer_types', 'sliding_window', 'attn_logit_softcapping', 'final_logit_softcapping'];
    const absent = Object.fromEntries([...said, 'query_pre_attn_scalar'].map((key) => [key, undefined]));
    const config = changed('gemma2', { ...absent, num_hidden_layers: 4 });
    expect(pattern(config)).toBe('WCWC');
    expect(config.layers[0]!.visibility).toEqual({ kind: 'sliding', window: 4096 });
    expect(attention(config)).toMatchObject({ softcap: 50, scale: 1 / 16 });
    expect(config.head.softcap).toBe(30);
  });

  it('has no caps where they are null, and takes what the published files say twice', () => {
    const config = changed('gemma2', { attn_logit_softcapping: null, final_logit_softcapping: null });
    expect([attention(config).softcap, config.head.softcap]).toEqual([null, null]);
    const twice = { hidden_act: 'gelu_pytorch_tanh', cache_implementation: 'hybrid', sliding_window_size: 4096 };
    expect(changed('gemma2', twice)).toEqual(changed('gemma2'));
  });

  it('refuses windows of no length', () => {
    expect(() => changed('gemma2', { sliding_window: null })).toThrow(
      'layer_types[0] is sliding_attention, and there is no window (sliding_window is null or 0, or use_sliding_window is false)',
    );
  });
});

describe('gemma3_text', () => {
  const old = { rope_parameters: undefined, layer_types: undefined, rope_theta: 20000, rope_local_base_freq: 1000 };

  it('reads the older spelling: two thetas, a scaling that is of full attention alone, and a pattern', () => {
    const spelt = { ...old, rope_scaling: { rope_type: 'linear', factor: 4 }, sliding_window_pattern: 6 };
    expect(changed('gemma3-text', spelt)).toEqual(changed('gemma3-text'));
  });

  it('has the thetas and the pattern of the published files where they are not said', () => {
    const config = changed('gemma3-text', { ...old, rope_theta: undefined, rope_local_base_freq: undefined });
    expect(pattern(config)).toBe('WWWWWC');
    expect([thetaOf(attention(config)), thetaOf(attention(config, 5))]).toEqual([10_000, 1_000_000]);
    expect(pattern(changed('gemma3-text', { ...old, sliding_window_pattern: 2 }))).toBe('WCWCWC');
  });

  it.each<[Json, string]>([
    [{ attn_logit_softcapping: 50 }, 'transformers does not cap the scores of Gemma 3'],
    [{ use_bidirectional_attention: true }, 'only attention to earlier tokens is supported'],
    [{ rope_parameters: { rope_type: 'linear', factor: 4 } }, 'expected one rope for each type of layer, { full_att'],
    [
      { rope_parameters: { sliding_attention: { rope_type: 'dynamic', factor: 4 } } },
      'rope_parameters.sliding_attention depends on the length of the sequence',
    ],
    [{ rope_local_base_freq: 10_000 }, 'rope_theta = 10000 contradicts the 1000 given with the rope type'],
    [{ rope_parameters: { full_attention: null, chunked_attention: null } }, 'rope_parameters.chunked_attention'],
  ])('refuses %j', (change, message) => {
    expect(() => changed('gemma3-text', change)).toThrow(message);
  });
});

describe('qwen2 and qwen3', () => {
  const absent = { layer_types: undefined };
  const windows = { ...absent, use_sliding_window: true, sliding_window: 8 };

  it.each<[Json, string]>([
    [absent, 'CCC'],
    [{ ...absent, sliding_window: 8, max_window_layers: 0 }, 'CCC'],
    [windows, 'CCC'],
    [{ ...windows, max_window_layers: 0 }, 'WWW'],
    [{ ...windows, max_window_layers: 2 }, 'CCW'],
    [{ ...windows, max_window_layers: 0, sliding_window: null }, 'CCC'],
    [{ ...windows, layer_types: ['sliding_attention', 'full_attention', 'full_attention'] }, 'WCC'],
  ])('%j are layers that see %s', (change, expected) => {
    for (const name of ['qwen2', 'qwen3'])
      expect(pattern(changed(name, { num_hidden_layers: 3, ...change }))).toBe(expected);
  });

  it('refuses windows that are switched off', () => {
    const types = { layer_types: ['full_attention', 'sliding_attention'], sliding_window: 8 };
    for (const name of ['qwen2', 'qwen3'])
      expect(() => changed(name, types)).toThrow('layer_types[1] is sliding_attention');
  });

  it('have biases on queries, keys and values (Qwen2), or where the file says so (Qwen3)', () => {
    expect(biasOf(changed('qwen2'))).toEqual({ qkv: true, output: false });
    expect(biasOf(changed('qwen3'))).toEqual({ qkv: false, output: false });
    expect(biasOf(changed('qwen3', { attention_bias: true }))).toEqual({ qkv: true, output: true });
  });

  it('have a head dim of D / H (Qwen2), or of 128 (Qwen3), where the file does not say it', () => {
    expect(attention(changed('qwen2', { head_dim: undefined })).headDim).toBe(12);
    const { headDim, qkNorm } = attention(changed('qwen3', { head_dim: undefined }));
    expect([headDim, qkNorm!.scope, qkNorm!.place]).toEqual([128, 'head', 'before-rope']);
  });

  it('read what Qwen2.5 says of images, and of texts beyond all contexts', () => {
    expect(changed('qwen2', { use_mrope: false, dual_chunk_attention_config: {} })).toEqual(changed('qwen2'));
    expect(() => changed('qwen2', { use_mrope: true })).toThrow('rope of several axes, for images, is not supported');
  });
});

describe('smollm3', () => {
  const four = { num_hidden_layers: 4, layer_types: undefined, no_rope_layers: undefined };

  it.each<[Json, string]>([
    [{ no_rope_layer_interval: undefined }, 'CCCc'],
    [{ no_rope_layer_interval: 2 }, 'CcCc'],
    [{ no_rope_layers: [0, 1, 1, 0, 1] }, 'cCCc'],
    [{ use_sliding_window: true, sliding_window: 8 }, 'CwCw'],
    [{ sliding_window: 8 }, 'CcCc'],
  ])('%j are layers that see %s', (change, expected) => {
    expect(pattern(changed('smollm3', { ...four, ...change }))).toBe(expected);
  });

  it('has a theta of 2,000,000 where none is said, and refuses a list that is too short', () => {
    expect(thetaOf(attention(changed('smollm3', { rope_parameters: undefined })))).toBe(2_000_000);
    const message = 'no_rope_layers has 2 entries, and num_hidden_layers = 3';
    expect(() => changed('smollm3', { no_rope_layers: [1, 0] })).toThrow(message);
  });
});

describe('exaone4', () => {
  const absent = { layer_types: undefined };

  it.each<[Json, string]>([
    [{ ...absent, sliding_window_pattern: undefined }, 'WWWc'],
    [{ ...absent, sliding_window_pattern: 2 }, 'WcWc'],
    [{ ...absent, sliding_window_pattern: 'LG' }, 'WcWc'],
    [{ ...absent, sliding_window_pattern: 'L' }, 'WWWc'],
    [{ ...absent, sliding_window: null }, 'CCCC'],
    [{ layer_types: Array(4).fill('full_attention') }, 'cccc'],
  ])('%j are layers that see %s', (change, expected) => {
    expect(pattern(changed('exaone4', change))).toBe(expected);
  });

  it.each<[Json, string]>([
    [{ ...absent, sliding_window_pattern: null }, 'neither sliding_window_pattern nor layer_types says where'],
    [{ sliding_window_pattern: 'LLXG' }, 'expected a number of layers, or letters L and G'],
    [{ sliding_window: null }, 'layer_types[0] is sliding_attention, and there is no window'],
  ])('refuses %j', (change, message) => {
    expect(() => changed('exaone4', change)).toThrow(message);
  });
});

describe('olmo, olmo2 and olmo3', () => {
  it('OLMo learns nothing in its norms, and clips where the file says so', () => {
    const { finalNorm } = changed('olmo');
    expect(finalNorm).toEqual({ kind: 'layer', eps: 1e-5, weight: false, bias: false, weightOffset: 0 });
    const clips = [1.5, null, undefined].map((clip_qkv) => attention(changed('olmo', { clip_qkv })).clip);
    expect(clips).toEqual([1.5, null, null]);
    expect(() => changed('olmo', { rms_norm_eps: 1e-5 })).toThrow('the key rms_norm_eps = 0.00001 is not understood');
  });

  it('OLMo 2 norms what parts make, and all heads as one', () => {
    const config = changed('olmo2', { rms_norm_eps: undefined, num_key_value_heads: undefined });
    const norm = { kind: 'rms', eps: 1e-5 };
    expect(config.layers[0]!.attentionBranch).toMatchObject({ inputNorm: null, outputNorm: norm });
    expect(attention(config)).toMatchObject({ keyValueHeads: 4, qkNorm: { scope: 'heads-together', norm } });
  });

  const yarn = { rope_type: 'yarn', factor: 8, original_max_position_embeddings: 64, attention_factor: 1.2 };
  const old = { rope_parameters: undefined, layer_types: undefined, rope_theta: 500_000 };

  it('OLMo 3 stretches the rope of every fourth layer alone, in both spellings', () => {
    const config = changed('olmo3', { ...old, rope_scaling: yarn });
    expect(pattern(config)).toBe('WWWC');
    expect([attention(config), attention(config, 3)].map(({ rope }) => rope!.magnitude)).toEqual([1, 1.2]);
    const theta = { rope_theta: 500_000 };
    const types = { full_attention: { ...theta, ...yarn }, sliding_attention: { ...theta, rope_type: 'default' } };
    expect(changed('olmo3', { rope_parameters: types })).toEqual(config);
  });

  it('OLMo 3 has one rope where it is not stretched, with a theta of 500,000', () => {
    const config = changed('olmo3', { ...old, rope_theta: undefined });
    expect(new Set(config.layers.map(({ attention: { rope } }) => rope)).size).toBe(1);
    expect(thetaOf(attention(config))).toBe(500_000);
  });

  it('OLMo 3 refuses a theta that releases of transformers understand in two ways, unless no layer has a window', () => {
    const other = { ...old, rope_theta: 10_000 };
    expect(() => changed('olmo3', other)).toThrow('rope_theta = 10000 is taken for all layers by transformers 4');
    const config = changed('olmo3', { ...other, layer_types: Array(4).fill('full_attention') });
    expect(thetaOf(attention(config))).toBe(10_000);
  });
});
