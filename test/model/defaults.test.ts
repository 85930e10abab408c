/** What each family has where a file is silent: that of its class in transformers. No golden shows it, since transformers writes its files whole. */
import { expect, it } from 'vitest';
import { familyOf } from '../../src/model/families/index.js';

type Json = Record<string, unknown>;

function configure(raw: Json) {
  return familyOf(raw, 'config.json').configure(raw, { file: 'config.json', ropeLength: null });
}

/** The config with its outer layers, and for each layer a letter: plain, gated or experts; and causal or sliding. */
function described(raw: Json) {
  const config = configure(raw);
  const kinds = config.layers.map(({ feedForward }) => feedForward.kind[0]).join('');
  const seen = config.layers.map(({ visibility }) => visibility.kind[0]).join('');
  return { ...config, first: config.layers[0], last: config.layers.at(-1), kinds, seen };
}

/** What most files must say. Heads are 128 wide. */
const sizes = {
  vocab_size: 64, hidden_size: 4096, intermediate_size: 96, num_hidden_layers: 4, num_attention_heads: 32,
}; // biome-ignore format: a config

/** More heads than any number of key/value heads that is a default. */
const many = { ...sizes, num_attention_heads: 64 };
const moe = { ...sizes, moe_intermediate_size: 10 };
const latent = { ...moe, kv_lora_rank: 512, qk_nope_head_dim: 128, qk_rope_head_dim: 64, v_head_dim: 128 };
/** On, in a model that has one layer more than the 28 that Qwen2 counts by default. */
const windows = { ...sizes, num_hidden_layers: 29, use_sliding_window: true };
const eps = { eps: 1e-5 };
const sliding = (window: number) => ({ visibility: { kind: 'sliding', window } });
const causal = { visibility: { kind: 'causal' } };
const bias = (qkv: boolean, output = qkv) => ({ attentionBias: { qkv, output } });
const soft = { kind: 'softmax-top-k', groups: 1, normalise: false, scale: 1 };

const EXPECTED: [model_type: string, given: Json, expected: object][] = [
  ['bloom', {}, { width: 64, context: 2048, finalNorm: eps, head: { tied: true }, kinds: 'pp' }],
  ['bloom', {}, { first: { attention: { queryHeads: 8 }, feedForward: { width: 256, activation: 'bloom_gelu' } } }],
  ['cohere', sizes, { context: 8192, head: { scale: 1 / 16 }, first: bias(false) }],
  [
    'cohere2',
    sizes,
    { context: 8192, head: { scale: 1 / 16 }, first: sliding(4096), last: { attention: { rope: null } } },
  ],
  [
    'deepseek_v2',
    { ...latent, n_routed_experts: 8, num_experts_per_tok: 2 },
    {
      first: { attention: { queryRank: 1536 }, feedForward: { router: soft, shared: { feedForward: { width: 20 } } } },
      kinds: 'eeee',
    },
  ],
  [
    'deepseek_v3',
    { ...latent, n_routed_experts: 16 },
    {
      context: 4096,
      kinds: 'ggge',
      first: { attention: { queryRank: 1536, rope: { pairs: 'interleaved' } } },
      last: {
        feedForward: {
          perToken: 8,
          shared: { feedForward: { width: 10 } },
          router: { groups: 8, groupsPerToken: 4, normalise: true, scale: 2.5 },
        },
      },
    },
  ],
  ['exaone4', many, { context: 2048, finalNorm: eps, first: { attention: { keyValueHeads: 32 }, ...sliding(4096) } }],
  ['falcon', { hidden_size: 4096, num_attention_heads: 32 }, { context: 2048, finalNorm: eps, first: bias(false) }],
  [
    'falcon',
    { hidden_size: 4096, num_attention_heads: 32 },
    {
      first: {
        attention: { keyValueHeads: 1 },
        feedForward: { width: 16384, activation: 'gelu' },
        parallel: 'one-norm',
      },
    },
  ],
  [
    'falcon',
    { hidden_size: 4096, num_attention_heads: 32, new_decoder_architecture: true },
    { first: { attention: { keyValueHeads: 32 }, parallel: 'own-norms' } },
  ],
  ['gemma2', sizes, { context: 8192, head: { tied: true }, first: { attention: { keyValueHeads: 4, headDim: 256 } } }],
  ['gemma3_text', sizes, { context: 131072, head: { softcap: null }, first: sliding(4096) }],
  ['gemma3_text', sizes, { first: { attention: { keyValueHeads: 4, headDim: 256, scale: 1 / 16 } } }],
  ['glm', sizes, { context: 131072, first: bias(true, false) }],
  ['glm4', sizes, { context: 131072, first: bias(true, false) }],
  ['glm4_moe', moe, { context: 131072, finalNorm: eps, kinds: 'geee', first: bias(false) }],
  ['glm4_moe', moe, { first: { attention: { keyValueHeads: 8, rope: { dim: 64 }, qkNorm: null } } }],
  [
    'glm4_moe',
    moe,
    {
      last: {
        feedForward: {
          count: 128,
          perToken: 8,
          shared: { feedForward: { width: 10 } },
          router: { groups: 1, normalise: true, scale: 1 },
        },
      },
    },
  ],
  ['gpt2', {}, { width: 768, context: 1024, finalNorm: eps, head: { tied: true }, kinds: 'p'.repeat(12) }],
  ['gpt2', {}, { first: { attention: { scale: 1 / 8 }, feedForward: { width: 3072, activation: 'gelu_new' } } }],
  ['gpt_bigcode', {}, { first: { attention: { keyValueHeads: 1 }, feedForward: { activation: 'gelu_pytorch_tanh' } } }],
  ['gpt_neo', {}, { width: 2048, context: 2048, kinds: 'p'.repeat(24), head: { tied: true }, last: sliding(256) }],
  ['gpt_neo', {}, { first: { ...bias(false, true), feedForward: { width: 8192, activation: 'gelu_new' } } }],
  ['gpt_neox', {}, { width: 6144, context: 2048, finalNorm: eps, head: { tied: false }, kinds: 'p'.repeat(44) }],
  ['gpt_neox', {}, { first: { ...bias(true), attention: { rope: { dim: 24 } }, parallel: 'own-norms' } }],
  ['gpt_neox', {}, { first: { feedForward: { width: 24576, activation: 'gelu' } } }],
  ['gpt_oss', { ...sizes, num_local_experts: 8 }, { context: 131072, finalNorm: eps, last: causal }],
  [
    'gpt_oss',
    { ...sizes, num_local_experts: 8 },
    { first: { ...bias(true), attention: { headDim: 64 }, ...sliding(128) } },
  ],
  [
    'gpt_oss',
    { ...sizes, num_local_experts: 8 },
    { first: { feedForward: { perToken: 4, expert: { clamp: { limit: 7, alpha: 1.702 } } } } },
  ],
  ['gptj', {}, { width: 4096, context: 2048, finalNorm: eps, head: { tied: false }, kinds: 'p'.repeat(28) }],
  ['gptj', {}, { first: { attention: { rope: { dim: 64 } }, feedForward: { width: 16384, activation: 'gelu_new' } } }],
  ['granite', sizes, { context: 2048, embedding: { scale: 1 }, head: { scale: 1, tied: false }, first: bias(false) }],
  [
    'granitemoe',
    sizes,
    { embedding: { scale: 1 }, head: { scale: 1 }, first: { feedForward: { count: 8, perToken: 2 } } },
  ],
  ['llama', sizes, { context: 2048, finalNorm: { eps: 1e-6 }, head: { tied: false } }],
  [
    'llama',
    sizes,
    { first: { ...bias(false), attention: { keyValueHeads: 32 }, feedForward: { activation: 'silu' } } },
  ],
  ['llama4_text', sizes, { context: 131072, finalNorm: eps, kinds: 'eeee', first: { visibility: { chunk: 8192 } } }],
  ['llama4_text', sizes, { first: { attention: { keyValueHeads: 8, headDim: 128, qkNorm: { place: 'after-rope' } } } }],
  [
    'llama4_text',
    sizes,
    { last: { attention: { rope: null, temperature: { floorScale: 8192, attentionScale: 0.1 } } } },
  ],
  ['llama4_text', sizes, { first: { feedForward: { count: 16, perToken: 1 } } }],
  ['llama4_text', { ...sizes, moe_layers: [0] }, { kinds: 'eggg', last: { feedForward: { width: 16384 } } }],
  ['minicpm3', sizes, { context: 32768, embedding: { scale: 12 }, head: { scale: 1 / 16 } }],
  ['minicpm3', sizes, { first: { attentionBranch: { scale: 0.7 }, attention: { queryRank: 768, latentRank: 256 } } }],
  ['minicpm3', sizes, { first: { attention: { nopeDim: 64, ropeDim: 32, valueDim: 128 } } }],
  ['mistral', sizes, { context: 131072, finalNorm: { eps: 1e-6 }, first: { attention: { keyValueHeads: 8 } } }],
  ['mixtral', sizes, { context: 131072, finalNorm: eps, first: { feedForward: { count: 8, perToken: 2 } } }],
  ['mixtral', sizes, { first: { attention: { keyValueHeads: 8 } } }],
  ['mpt', {}, { width: 2048, context: 2048, finalNorm: eps, head: { tied: true }, kinds: 'p'.repeat(24) }],
  ['mpt', {}, { first: { attention: { queryHeads: 16, clip: null }, feedForward: { activation: 'gelu' } } }],
  ['nemotron', sizes, { context: 4096, first: { ...bias(false), feedForward: { activation: 'relu2', bias: false } } }],
  ['olmo', sizes, { context: 2048, head: { tied: false }, first: { attention: { clip: null } } }],
  ['olmo2', sizes, { context: 2048, finalNorm: eps, head: { tied: false } }],
  ['olmo3', sizes, { context: 2048, finalNorm: eps, first: sliding(4096), last: causal }],
  ['olmoe', sizes, { context: 4096, finalNorm: eps, first: { feedForward: { count: 64, perToken: 8, router: soft } } }],
  ['opt', {}, { width: 768, context: 2048, finalNorm: eps, head: { tied: true }, kinds: 'p'.repeat(12) }],
  [
    'opt',
    {},
    { embedding: { width: 768 }, first: { ...bias(true), feedForward: { width: 3072, activation: 'relu' } } },
  ],
  ['phi', sizes, { context: 2048, first: { feedForward: { activation: 'gelu_new' } } }],
  ['phi3', sizes, { context: 4096, first: causal }],
  ['qwen2', many, { context: 32768, finalNorm: { eps: 1e-6 }, first: { attention: { keyValueHeads: 32 } } }],
  [
    'qwen2_moe',
    moe,
    { context: 32768, kinds: 'eeee', first: { ...bias(true, false), attention: { keyValueHeads: 16 } } },
  ],
  ['qwen2', windows, { seen: `${'c'.repeat(28)}s`, last: sliding(4096) }],
  ['qwen3', windows, { seen: `${'c'.repeat(28)}s`, last: sliding(4096) }],
  ['qwen2_moe', { ...moe, ...windows }, { seen: `${'sc'.repeat(14)}c`, first: sliding(4096) }],
  ['qwen3_moe', { ...moe, ...windows }, { seen: 's'.repeat(29), first: sliding(4096) }],
  [
    'qwen2_moe',
    moe,
    { first: { feedForward: { count: 60, perToken: 4, router: soft, shared: { feedForward: { width: 5632 } } } } },
  ],
  ['qwen3', many, { context: 32768, first: { ...bias(false), attention: { keyValueHeads: 32 } } }],
  ['qwen3_moe', moe, { context: 32768, kinds: 'eeee', first: { ...bias(false), attention: { keyValueHeads: 4 } } }],
  ['qwen3_moe', moe, { first: { feedForward: { count: 128, perToken: 8, router: soft } } }],
  [
    'smollm3',
    sizes,
    { context: 32768, head: { tied: true }, first: { ...bias(false), attention: { keyValueHeads: 4 } } },
  ],
  ['stablelm', many, { context: 4096, first: { ...bias(false), attention: { keyValueHeads: 32 }, parallel: null } }],
  [
    'starcoder2',
    sizes,
    { context: 4096, first: { attention: { keyValueHeads: 2 }, feedForward: { activation: 'gelu_pytorch_tanh' } } },
  ],
];

it.each(EXPECTED)('%s with %j is %j', (model_type, given, expected) => {
  expect(described({ model_type, ...given })).toMatchObject(expected);
});

it('gpt_oss has yarn that begins and ends between pairs, where a file says nothing of rope', () => {
  const { frequencies } = configure({ model_type: 'gpt_oss', ...sizes, num_local_experts: 8 }).layers[0]!.attention
    .rope!;
  const pairAt = (turns: number) => (32 * Math.log(4096 / (turns * 2 * Math.PI))) / Math.log(150000);
  const part = (13 - pairAt(32)) / (pairAt(1) - pairAt(32));
  expect(frequencies[13]).toBeCloseTo(150000 ** (-13 / 32) * (1 - part + part / 32), 14);
});

it.each([
  ['llama', 10000],
  ['llama4_text', 500000],
  ['mistral', 10000],
  ['mixtral', 1000000],
])('%s has a theta of %d', (model_type, theta) => {
  const { rope } = configure({ model_type, ...sizes }).layers[0]!.attention;
  expect(rope!.frequencies[1]).toBeCloseTo(theta ** (-1 / 64), 14);
});

it('deepseek_v3 rotates halves where a file says so', () => {
  const raw = { model_type: 'deepseek_v3', ...latent, n_routed_experts: 16, rope_interleave: false };
  expect(configure(raw).layers[0]!.attention.rope!.pairs).toBe('half-split');
});
