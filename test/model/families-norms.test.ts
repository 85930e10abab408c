/** Families that differ in their norms, their factors, and which part of a head they rotate: what their configs become, and what they refuse. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { GroupedConfig } from '../../attention/strategy/strategy.js';
import { familyOf } from '../../src/model/families/index.js';
import { fixture } from '../support/fixtures.js';

type Json = Record<string, unknown>;

function read(raw: Json, ropeLength: number | null = null) {
  return familyOf(raw, 'config.json').configure(raw, { file: 'config.json', ropeLength });
}

/** A fixture's config with changes. */
function configure(name: string, change: Json = {}, without: readonly string[] = []) {
  const raw = {
    ...(JSON.parse(readFileSync(fixture(`families/${name}/config.json`), 'utf8')) as Json),
    ...change,
  };
  for (const key of without) delete raw[key];
  return read(raw);
}

const attentionOf = (config: ReturnType<typeof read>, layer = 0) => config.layers[layer]!.attention as GroupedConfig;

/** What a config.json of a few heads must say. */
const small = { vocab_size: 64, hidden_size: 64, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 4 };

describe('what a file leaves out', () => {
  it.each<[string, Json, Json]>([
    ['phi', {}, { keyValueHeads: 4, rope: { dim: 8, pairs: 'half-split' }, qkNorm: null }],
    ['phi3', {}, { keyValueHeads: 4, rope: { dim: 16 } }],
    ['stablelm', { num_key_value_heads: 4 }, { rope: { dim: 4 }, qkNorm: null }],
    ['starcoder2', {}, { keyValueHeads: 2, rope: { dim: 16 } }],
    ['nemotron', {}, { keyValueHeads: 4, rope: { dim: 8 } }],
    ['glm', {}, { keyValueHeads: 2, headDim: 128, rope: { dim: 64, pairs: 'interleaved' } }],
    ['glm4', {}, { keyValueHeads: 2, headDim: 128, rope: { dim: 64, pairs: 'interleaved' } }],
    ['cohere', {}, { keyValueHeads: 4, rope: { dim: 16, pairs: 'interleaved' }, qkNorm: null }],
    ['granite', {}, { keyValueHeads: 4, rope: { dim: 16, pairs: 'half-split' }, scale: 1 }],
  ])('%s has its own attention', (model_type, given, attention) => {
    expect(read({ model_type, ...small, ...given }).layers[0]!.attention).toMatchObject(attention);
  });

  it.each<[string, string, number, boolean]>([
    ['phi', 'layer', 1e-5, false],
    ['phi3', 'rms', 1e-5, false],
    ['stablelm', 'layer', 1e-5, false],
    ['starcoder2', 'layer', 1e-5, true],
    ['nemotron', 'layer', 1e-5, false],
    ['glm', 'rms', 1.5625e-7, false],
    ['glm4', 'rms', 1.5625e-7, false],
    ['cohere', 'layer', 1e-5, true],
    ['cohere2', 'layer', 1e-5, true],
    ['granite', 'rms', 1e-6, false],
    ['minicpm3', 'rms', 1e-5, true],
  ])('%s has %s norms with eps = %s, and a tied head: %s', (model_type, kind, eps, tied) => {
    const raw = { model_type, ...small, num_key_value_heads: 4 };
    expect(read(raw)).toMatchObject({ finalNorm: { kind, eps }, head: { tied } });
    // Only a family with RMS norms reads rms_norm_eps: elsewhere the key would be one that changes nothing.
    if (kind === 'rms') expect(read({ ...raw, rms_norm_eps: 0.5 }).finalNorm).toMatchObject({ eps: 0.5 });
    else expect(() => read({ ...raw, rms_norm_eps: 0.5 })).toThrow('rms_norm_eps = 0.5 is not understood');
  });

  it('cohere turns more slowly than cohere2', () => {
    const frequency = (model_type: string) => attentionOf(read({ model_type, ...small })).rope!.frequencies[1];
    expect(frequency('cohere')).toBeCloseTo(500000 ** (-1 / 8), 14);
    expect(frequency('cohere2')).toBeCloseTo(10000 ** (-1 / 8), 14);
  });
});

describe('phi', () => {
  it('norms queries and keys where the file says so, and may rotate another part', () => {
    expect(attentionOf(configure('phi-qk')).qkNorm).toMatchObject({
      scope: 'head',
      norm: { kind: 'layer', bias: true },
    });
    const half = { ...small, model_type: 'phi', partial_rotary_factor: 0.5 };
    expect(read({ ...half, partial_rotary_factor: 0.25 })).not.toEqual(read(half));
    expect(read(half)).toEqual(read({ ...small, model_type: 'phi' }));
    expect(() => read({ ...half, hidden_size: 24 })).toThrow('its part of 0.5 that is rotated');
  });
});

/** The form of Phi-4-mini-instruct's config.json, and older ones of Phi-3. */
const PHI4_MINI: Json = {
  attention_bias: false,
  auto_map: { AutoModelForCausalLM: 'modeling_phi3.Phi3ForCausalLM', AutoTokenizer: 'Xenova/gpt-4o' },
  full_attn_mod: 1,
  hidden_act: 'silu',
  hidden_size: 96,
  intermediate_size: 128,
  interpolate_factor: 1,
  lm_head_bias: false,
  max_position_embeddings: 131072,
  mlp_bias: false,
  model_type: 'phi3',
  num_attention_heads: 6,
  num_hidden_layers: 2,
  num_key_value_heads: 2,
  original_max_position_embeddings: 4096,
  partial_rotary_factor: 0.75,
  resid_pdrop: 0.0,
  rms_norm_eps: 1e-5,
  rope_scaling: { type: 'longrope', short_factor: [1, 1, 1, 1, 1, 2], long_factor: [1, 2, 3, 4, 5, 6] },
  rope_theta: 10000.0,
  sliding_window: 262144,
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
  vocab_size: 64,
};

describe('phi3', () => {
  it('has longrope with the original context of the top of the file', () => {
    const rope = attentionOf(read(PHI4_MINI)).rope!;
    expect(rope.magnitude).toBeCloseTo(Math.sqrt(1 + Math.log(32) / Math.log(4096)), 14);
    expect(rope.frequencies[5]).toBeCloseTo(10000 ** (-10 / 12) / 2, 14);
    expect(read(PHI4_MINI)).toMatchObject({ context: 4096, ropeLength: 4096 });
    const long = read(PHI4_MINI, 5000);
    expect(attentionOf(long).rope!.frequencies[5]).toBeCloseTo(10000 ** (-10 / 12) / 6, 14);
    expect(long.layers[0]!.visibility).toEqual({ kind: 'sliding', window: 262144 });
  });

  it('has 4,096 tokens of original context where no file says how many, whatever the scaling says', () => {
    const { original_max_position_embeddings: _, ...raw } = PHI4_MINI;
    const scaling = { ...(PHI4_MINI.rope_scaling as Json), original_max_position_embeddings: 2048 };
    expect(read({ ...raw, rope_scaling: scaling }).ropeLength).toBe(4096);
  });

  it('reads the name that longrope had first', () => {
    const su = { ...(PHI4_MINI.rope_scaling as Json), type: 'su' };
    expect(read({ ...PHI4_MINI, rope_scaling: su })).toEqual(read(PHI4_MINI));
    expect(read({ ...PHI4_MINI, rope_scaling: { ...su, rope_type: 'longrope' } })).toEqual(read(PHI4_MINI));
  });

  it.each<[Json, string]>([
    [
      { rope_scaling: { type: 'linear', factor: 2 } },
      'rope_type = linear, and the rope of phi3 is default or longrope',
    ],
    [{ rope_scaling: { type: 'yarn', factor: 2 } }, 'rope_type = yarn, and the rope of phi3 is default or longrope'],
    [{ partial_rotary_factor: 1 }, 'short_factor has 6 entries, and 16 rotated values have 8 pairs'],
    [{ attention_bias: true }, 'attention_bias = true is not valid'],
    [{ auto_map: { AutoModelForCausalLM: 'modeling_mine.X' } }, 'code of its own; only modeling_phi3 is known'],
    [{ full_attn_mod: 2 }, 'full_attn_mod = 2 is not valid'],
  ])('refuses %j', (change, message) => {
    expect(() => read({ ...PHI4_MINI, ...change })).toThrow(message);
  });
});

describe('stablelm', () => {
  it('has each head normed, and parts side by side, only where the file says so', () => {
    const parallel = configure('stablelm-parallel');
    expect(attentionOf(parallel).qkNorm).toMatchObject({ scope: 'each-head', norm: { kind: 'layer', bias: false } });
    expect(parallel.layers.map((layer) => layer.parallel)).toEqual(['one-norm', 'one-norm']);
    expect(configure('stablelm', {}, ['use_parallel_residual']).layers[0]!.parallel).toBe(null);
    expect(configure('stablelm', { use_qkv_bias: true }).layers[0]!.attentionBias).toEqual({
      qkv: true,
      output: false,
    });
  });

  it('takes the names of its first files where they say what is so anyway', () => {
    const first = { rope_pct: 0.25, norm_eps: 1e-5, rotary_scaling_factor: 1.0, num_heads: 4 };
    expect(configure('stablelm', first)).toEqual(configure('stablelm'));
    expect(() => configure('stablelm', { rope_pct: 0.5 })).toThrow('transformers reads partial_rotary_factor');
    expect(() => configure('stablelm', { norm_eps: 1e-6 })).toThrow('transformers reads layer_norm_eps');
  });
});

describe('starcoder2', () => {
  it('has biases and no window unless the file says otherwise', () => {
    const { layers } = configure('starcoder2', { sliding_window: 4096, use_bias: false });
    expect(layers[0]).toMatchObject({
      attentionBias: { qkv: false, output: false },
      feedForward: { kind: 'plain', bias: false },
      visibility: { kind: 'sliding', window: 4096 },
    });
    const bare = configure('starcoder2', {}, ['sliding_window', 'use_bias']).layers[0]!;
    expect(bare).toMatchObject({ attentionBias: { output: true }, visibility: { kind: 'causal' } });
    expect(() => configure('starcoder2', { norm_type: 'rms_norm' })).toThrow('norm_type = "rms_norm" is not valid');
  });
});

describe('glm and glm4', () => {
  it('differ in the norms after each part', () => {
    const of = (name: string) => configure(name).layers[0]!;
    for (const name of ['glm', 'glm4']) expect(of(name).attentionBias).toEqual({ qkv: true, output: false });
    expect(of('glm').attentionBranch.outputNorm).toBeNull();
    expect(of('glm4').attentionBranch.outputNorm).toEqual(of('glm4').attentionBranch.inputNorm);
    expect(of('glm4').feedForwardBranch.outputNorm).not.toBeNull();
  });
});

describe('cohere2', () => {
  it('rotates in windows alone, three layers of four, unless the file says otherwise', () => {
    const layers = (change: Json, without: string[] = []) =>
      configure('cohere2', change, without).layers.map(({ visibility, attention }) =>
        attention.rope ? visibility : visibility.kind,
      );
    const local = { kind: 'sliding', window: 12 };
    expect(layers({}, ['layer_types'])).toEqual([local, local, local, 'causal']);
    expect(layers({ sliding_window_pattern: 2 }, ['layer_types'])).toEqual([local, 'causal', local, 'causal']);
    expect(layers({ layer_types: Array(4).fill('full_attention') })).toEqual(Array(4).fill('causal'));
    expect(() => configure('cohere2', { layer_types: ['full_attention'] })).toThrow('layer_types has 1 entries');
  });

  it.each<[Json, string]>([
    [{ sliding_window: null }, 'sliding_window = null is not valid'],
    [{ use_qk_norm: true }, 'transformers knows no query and key norms in this family'],
    [{ rotary_pct: 0.5 }, 'rotary_pct = 0.5 is not valid'],
    [{ use_parallel_block: false }, 'use_parallel_block = false is not valid'],
  ])('refuses %j', (change, message) => {
    expect(() => configure('cohere2', change)).toThrow(message);
  });
});

describe('factors', () => {
  it('granite has four, and divides logits by one of them', () => {
    const given = {
      embedding_multiplier: 12,
      attention_multiplier: 0.125,
      residual_multiplier: 0.22,
      logits_scaling: 16,
    };
    const config = configure('granite', given);
    expect([config.embedding.scale, attentionOf(config).scale, config.head.scale]).toEqual([12, 0.125, 1 / 16]);
    expect(config.layers[0]!.attentionBranch.scale).toBe(0.22);
    expect(config.layers[0]!.feedForwardBranch.scale).toBe(0.22);
  });

  it.each<[Json, number, number]>([
    [{ scale_depth: 1.4, dim_model_base: 8 }, 1.4 / Math.sqrt(2), 8 / 48],
    [{ scale_depth: null, dim_model_base: null }, 1, 1],
  ])('minicpm3 with %j', (given, residual, logits) => {
    const config = configure('minicpm3', { ...given, hidden_size: 48, num_hidden_layers: 2 });
    expect(config.layers[0]!.feedForwardBranch.scale).toBeCloseTo(residual, 14);
    expect(config.head.scale).toBeCloseTo(logits, 14);
  });

  it('minicpm3 has values as wide as the model over its heads, and the eps of its inner norms', () => {
    const { attention } = configure('minicpm3', { v_head_dim: null, hidden_size: 48, num_attention_heads: 4 })
      .layers[0]!;
    expect(attention).toMatchObject({
      kind: 'latent',
      valueDim: 12,
      norm: { eps: 1e-6 },
      rope: { pairs: 'half-split' },
    });
  });
});
