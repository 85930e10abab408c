/** What the configs of GPT-2 and its kin make of themselves, as they were published, and what they refuse. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { GroupedConfig } from '../../attention/strategy/strategy.js';
import { familyOf } from '../../src/model/families/index.js';

type Json = Record<string, unknown>;

function configure(raw: Json) {
  return familyOf(raw, 'config.json').configure(raw, { file: 'config.json', ropeLength: null });
}

const attention = (raw: Json, layer = 0) => configure(raw).layers[layer]!.attention as GroupedConfig;

/** Files of the hub, from before transformers 5, but for the keys that say nothing of a model. */
const published = JSON.parse(readFileSync(new URL('published-gpt.json', import.meta.url), 'utf8'));
const GPT2: Json = published.gpt2;
const NEO: Json = published['gpt-neo-125m'];
const GPTJ: Json = published['gpt-j-6b'];
const PYTHIA: Json = published['pythia-70m'];
const STARCODER: Json = published.starcoder;
const OPT_350M: Json = published['opt-350m'];
const BLOOM: Json = published['bloom-560m'];
const { alibi_bias_max, ...storyAttention } = published['mpt-7b-storywriter'].attn_config;
/** As with `--ignore-config-key attn_config.alibi_bias_max`. */
const STORYWRITER: Json = { ...published['mpt-7b-storywriter'], attn_config: storyAttention };
const FALCON_7B: Json = published['falcon-7b'];
const FALCON_40B: Json = published['falcon-40b'];
const PERSIMMON: Json = published['persimmon-8b-base'];

describe('published files', () => {
  it.each<[string, Json, object]>([
    [
      'gpt2',
      GPT2,
      { width: 768, context: 1024, embedding: { positions: { count: 1024, first: 0 } }, head: { tied: true } },
    ],
    [
      'gpt-neo-125m',
      NEO,
      { width: 768, context: 2048, embedding: { positions: { count: 2048, first: 0 } }, head: { tied: true } },
    ],
    ['gpt-j-6b', GPTJ, { width: 4096, embedding: { positions: null }, head: { tied: false, bias: true } }],
    ['pythia-70m', PYTHIA, { width: 512, finalNorm: { kind: 'layer', eps: 1e-5 }, head: { tied: false, bias: false } }],
    ['starcoder', STARCODER, { width: 6144, context: 8192, head: { tied: true } }],
    [
      'opt-350m',
      OPT_350M,
      { width: 1024, embedding: { width: 512, positions: { count: 2048, first: 2 } }, finalNorm: null },
    ],
    ['bloom-560m', BLOOM, { width: 1024, context: 2048, embedding: { norm: { kind: 'layer' } }, head: { tied: true } }],
    ['mpt-7b-storywriter', STORYWRITER, { width: 4096, context: 65536, finalNorm: { weight: true, bias: false } }],
    ['falcon-7b', FALCON_7B, { width: 4544, context: 2048, head: { tied: true } }],
    ['persimmon-8b-base', PERSIMMON, { width: 4096, context: 16384, head: { tied: false, bias: false } }],
  ])('%s', (_, raw, expected) => {
    expect(configure(raw)).toMatchObject(expected);
  });

  it.each<[string, Json, object]>([
    ['gpt2', GPT2, { queryHeads: 12, keyValueHeads: 12, headDim: 64, scale: 1 / 8, rope: null }],
    ['gpt-neo-125m', NEO, { scale: 1 }],
    ['gpt-j-6b', GPTJ, { headDim: 256, rope: { dim: 64, pairs: 'interleaved' } }],
    ['a GPT-J that rotates whole heads', { ...GPTJ, rotary_dim: 256 }, { headDim: 256, rope: { dim: 256 } }],
    ['pythia-70m', PYTHIA, { headDim: 64, rope: { dim: 16, pairs: 'half-split' } }],
    ['starcoder', STARCODER, { queryHeads: 48, keyValueHeads: 1 }],
    ['mpt-7b-storywriter', STORYWRITER, { clip: 6, alibi: { form: 'distance' } }],
    ['falcon-7b', FALCON_7B, { queryHeads: 71, keyValueHeads: 1, rope: { dim: 64 } }],
    ['falcon-40b', FALCON_40B, { queryHeads: 128, keyValueHeads: 8 }],
    ['persimmon-8b-base', PERSIMMON, { queryHeads: 64, keyValueHeads: 64, headDim: 64, rope: { dim: 32 } }],
    [
      'falcon-rw-1b',
      { ...FALCON_7B, alibi: true, multi_query: false, hidden_size: 4608, num_attention_heads: 72, num_kv_heads: 72 },
      { keyValueHeads: 72, rope: null },
    ],
  ])('attention of %s', (_, raw, expected) => {
    expect(attention(raw)).toMatchObject(expected);
  });

  it('are read with the names that other families have for their keys, unless the two contradict each other', () => {
    const { n_embd: hidden_size, n_head: num_attention_heads, n_layer: num_hidden_layers, ...rest } = GPT2;
    expect(configure({ ...rest, hidden_size, num_attention_heads, num_hidden_layers })).toEqual(configure(GPT2));
    expect(configure({ ...GPT2, hidden_size })).toEqual(configure(GPT2));
    expect(() => configure({ ...GPT2, hidden_size: 512 })).toThrow('n_embd = 768 contradicts hidden_size = 512');
    expect(() => configure({ ...GPT2, n_head: 0 })).toThrow('the key n_head = 0 is not valid');
  });

  it('have rope in one spelling or several', () => {
    const { rotary_emb_base, rotary_pct, ...bare } = PYTHIA;
    const both = { ...PYTHIA, rope_scaling: null, rope_theta: rotary_emb_base, partial_rotary_factor: rotary_pct };
    const modern = {
      ...bare,
      rope_parameters: { rope_type: 'default', rope_theta: 10000, partial_rotary_factor: 0.25 },
    };
    for (const raw of [bare, both, modern]) expect(configure(raw)).toEqual(configure(PYTHIA));
    expect(attention({ ...bare, rotary_pct: 1 }).rope!.dim).toBe(64);
    expect(() => configure({ ...PYTHIA, rope_theta: 500 })).toThrow(
      'rotary_emb_base = 10000 contradicts rope_theta = 500',
    );
  });
});

describe('layers', () => {
  it('of gpt_neo see everything and windows by turns, in whichever form the file says so', () => {
    const seen = (raw: Json) => configure(raw).layers.map(({ visibility }) => visibility);
    expect(seen(NEO).slice(0, 3)).toEqual([{ kind: 'causal' }, { kind: 'sliding', window: 256 }, { kind: 'causal' }]);
    const { attention_types, ...rest } = NEO;
    expect(seen({ ...rest, num_layers: 24 })).toEqual([...seen(NEO), ...seen(NEO)]);
    const layers = ['local', 'global', 'global'];
    expect(seen({ ...rest, num_layers: 3, attention_layers: layers }).map(({ kind }) => kind)).toEqual([
      'sliding',
      'causal',
      'causal',
    ]);
  });

  it('of gpt2 divide their scores by their number, or nothing scales them', () => {
    const scaled = { ...GPT2, scale_attn_by_inverse_layer_idx: true };
    expect([0, 1, 2].map((i) => attention(scaled, i).scale)).toEqual([1 / 8, 1 / 16, 1 / 24]);
    expect(attention({ ...GPT2, scale_attn_weights: false }).scale).toBe(1);
    expect(attention({ ...STARCODER, scale_attn_weights: false }).scale).toBe(1);
  });

  it.each<[string, Json, { parallel: string | null }]>([
    ['gpt-j', GPTJ, { parallel: 'one-norm' }],
    ['pythia', PYTHIA, { parallel: 'own-norms' }],
    ['redpajama', { ...PYTHIA, use_parallel_residual: false }, { parallel: null }],
    ['falcon-7b', FALCON_7B, { parallel: 'one-norm' }],
    ['falcon-40b', FALCON_40B, { parallel: 'own-norms' }],
    ['falcon-11b', { ...FALCON_40B, num_ln_in_parallel_attn: 1, ff_factor: 4 }, { parallel: 'one-norm' }],
    ['falcon-rw', { ...FALCON_7B, parallel_attn: false }, { parallel: null }],
  ])('of %s have their parts side by side or not, and one norm or two', (_, raw, expected) => {
    expect(configure(raw).layers[0]).toMatchObject(expected);
  });

  it('of opt norm inputs or sums, and have what is learned or not', () => {
    const norms = (change: Json) => {
      const { layers, finalNorm } = configure({ ...OPT_350M, ...change });
      const { inputNorm, sumNorm } = layers[0]!.attentionBranch;
      return [inputNorm, sumNorm, finalNorm].map((norm) => norm?.weight ?? null);
    };
    expect(norms({})).toEqual([null, true, null]);
    expect(norms({ do_layer_norm_before: true })).toEqual([true, null, true]);
    expect(norms({ do_layer_norm_before: true, _remove_final_layer_norm: true })).toEqual([true, null, null]);
    expect(norms({ layer_norm_elementwise_affine: false })).toEqual([null, false, null]);
    expect(configure({ ...OPT_350M, enable_bias: false }).layers[0]).toMatchObject({
      attentionBias: { qkv: false, output: false },
      feedForward: { bias: false },
    });
  });

  it('of bloom add to what was normed where the file says so', () => {
    const adds = (post: boolean) => configure({ ...BLOOM, apply_residual_connection_post_layernorm: post }).layers[0];
    expect(adds(true)).toMatchObject({
      attentionBranch: { addsToNormed: true },
      feedForwardBranch: { addsToNormed: true },
    });
    expect(adds(false)).toMatchObject({
      attentionBranch: { addsToNormed: false },
      feedForwardBranch: { addsToNormed: false },
    });
  });

  it('with ALiBi fall by the slopes of their family', () => {
    const slopes = (raw: Json) => attention(raw).alibi!.slopes;
    expect(slopes(BLOOM).slice(0, 2)).toEqual([2 ** -0.5, 2 ** -1]);
    expect(slopes(STORYWRITER).slice(0, 2)).toEqual([2 ** -0.25, 2 ** -0.5]);
    expect(attention({ ...STORYWRITER, attn_config: { clip_qkv: 0, softmax_scale: 0.5 } })).toMatchObject({
      clip: null,
      scale: 0.5,
    });
    expect(slopes({ ...STORYWRITER, n_heads: 3, d_model: 12, attn_config: null })).toEqual([2 ** -4, 2 ** -8, 2 ** -2]);
    const falcon = { ...FALCON_7B, alibi: true, hidden_size: 64, num_attention_heads: 16 };
    expect(slopes(falcon)[0]).toBe(0.70703125); // 2 ** -0.5 in bfloat16
    expect(attention(falcon).alibi).toMatchObject({ form: 'bfloat16', factor: 1 / 2 });
  });
});

describe('persimmon', () => {
  it('norms each query and key before rope, with eps and weights of a layer norm, unless the file says otherwise', () => {
    const norm = { kind: 'layer', eps: 1e-5, weight: true, bias: true, weightOffset: 0 };
    expect(attention(PERSIMMON).qkNorm).toEqual({ norm, scope: 'head', place: 'before-rope' });
    expect(attention({ ...PERSIMMON, qk_layernorm: false }).qkNorm).toBeNull();
  });

  it('has the sizes of its 8B model where a file leaves them out, but the theta of transformers', () => {
    const { rope_theta, ...rest } = PERSIMMON;
    expect(configure({ model_type: 'persimmon' })).toEqual(configure(rest));
    expect(attention(PERSIMMON).rope!.frequencies[1]).toBeCloseTo(25000 ** (-1 / 16), 14);
    expect(attention(rest).rope!.frequencies[1]).toBeCloseTo(10000 ** (-1 / 16), 14);
  });

  it('has biases everywhere, and its parts one after the other', () => {
    expect(configure(PERSIMMON).layers[0]).toMatchObject({
      attentionBias: { qkv: true, output: true },
      feedForward: { kind: 'plain', activation: 'relu2', bias: true },
      parallel: null,
    });
  });
});

it.each<[Json, string]>([
  [{ ...GPT2, n_head: 7 }, 'the head dim 109.71428571428571'],
  [{ ...GPT2, n_inner: 0 }, 'the key n_inner = 0 is not valid'],
  [{ ...GPT2, pruned_heads: { 0: [1] } }, 'the key pruned_heads.0 = [1] is not understood'],
  [{ ...GPT2, add_cross_attention: true }, 'only decoder-only models are supported'],
  [{ ...NEO, num_layers: 13 }, 'makes 12 layers, and num_layers = 13'],
  [
    { ...NEO, attention_layers: Array(12).fill('global') },
    'attention_layers and attention_types contradict each other',
  ],
  [{ ...GPTJ, rotary_dim: null }, 'the key rotary_dim = null is not valid'],
  [{ ...GPTJ, rotary_dim: 258 }, 'rotary_dim = 258 exceeds the head dim 256'],
  [{ ...GPTJ, rotary_dim: 7 }, 'the head dim 7 (rotary_dim) must be an even whole number'],
  [{ ...GPTJ, rotary: false }, 'there is no GPT-J without rope'],
  [{ ...PYTHIA, rotary_pct: 0.3 }, 'its part of 0.3 that is rotated'],
  [{ ...BLOOM, n_inner: 2048 }, 'four times as wide as the model'],
  [{ ...STORYWRITER, attn_config: { alibi: false } }, 'the key attn_config.alibi = false is not valid'],
  [{ ...STORYWRITER, attn_config: { alibi_bias_max } }, 'transformers takes 8 whatever the file says'],
  [{ ...STORYWRITER, attn_config: { qk_ln: true } }, 'the key attn_config.qk_ln = true is not valid'],
  [{ ...STORYWRITER, attn_config: { attn_type: 'grouped_query_attention' } }, 'attn_config.attn_type'],
  [{ ...STORYWRITER, attn_config: { rope: true } }, 'the key attn_config.rope = true is not understood'],
  [{ ...STORYWRITER, logit_scale: 'inv_sqrt_d_model' }, 'transformers does not scale the logits'],
  [{ ...STORYWRITER, no_bias: false }, 'transformers gives it no biases'],
  [{ ...STORYWRITER, expansion_ratio: 2 }, 'four times as wide as the model'],
  [{ ...STORYWRITER, norm_type: 'rmsnorm' }, 'the key norm_type = "rmsnorm" is not valid'],
  [{ ...FALCON_7B, auto_map: { AutoModelForCausalLM: 'modelling_RW.RWForCausalLM' } }, 'only modeling_falcon is known'],
  [{ ...FALCON_40B, parallel_attn: false }, 'new_decoder_architecture = true contradicts parallel_attn = false'],
  [{ ...FALCON_7B, num_ln_in_parallel_attn: 2 }, 'num_ln_in_parallel_attn = 2 needs new_decoder_architecture = true'],
  [{ ...FALCON_7B, multi_query: false, num_kv_heads: 8 }, 'num_kv_heads = 8 contradicts multi_query = false'],
  [{ ...FALCON_40B, num_kv_heads: 7 }, 'is not a multiple of num_kv_heads = 7'],
  [{ ...FALCON_7B, apply_residual_connection_post_layernorm: true }, 'Falcon adds to what was not normed'],
  [{ ...PERSIMMON, num_key_value_heads: 8 }, 'num_key_value_heads = 8 differs from num_attention_heads = 64'],
  [{ ...PERSIMMON, partial_rotary_factor: 0.3 }, 'its part of 0.3 that is rotated'],
  [{ ...PERSIMMON, head_dim: 32 }, 'the key head_dim = 32 is not understood'],
])('refuses %j', (raw, message) => {
  expect(() => configure(raw)).toThrow(message);
});
