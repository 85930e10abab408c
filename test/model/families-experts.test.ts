/** What the configs of mixtures of experts make of themselves, and what they refuse. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ExpertsConfig, GatedConfig, ModelConfig } from '../../src/model/config.js';
import { familyOf } from '../../src/model/families/index.js';
import { loadModel } from '../../src/model/load.js';
import { copyOf, tensorsOf, writeTensors } from '../support/checkpoint.js';
import { fixture } from '../support/fixtures.js';
import { PUBLISHED } from '../support/published-experts.js';

type Json = Record<string, unknown>;

const configured = (raw: Json): ModelConfig =>
  familyOf(raw, 'config.json').configure(raw, { file: 'config.json', ropeLength: null });

/** A fixture's config with some keys changed, and others away. */
function configure(name: string, change: Json = {}, without: readonly string[] = []): ModelConfig {
  const raw = { ...(JSON.parse(readFileSync(fixture(`families/${name}/config.json`), 'utf8')) as Json), ...change };
  for (const key of without) delete raw[key];
  return configured(raw);
}

const published = (name: keyof typeof PUBLISHED, change: Json = {}) => configured({ ...PUBLISHED[name], ...change });
const experts = ({ layers }: ModelConfig) =>
  layers.find(({ feedForward }) => feedForward.kind === 'experts')!.feedForward as ExpertsConfig;
const kinds = ({ layers }: ModelConfig) => layers.map(({ feedForward }) => feedForward.kind[0]).join('');
const seen = ({ layers }: ModelConfig) => layers.map(({ visibility }) => visibility.kind);

describe('published files', () => {
  const soft = { kind: 'softmax-top-k', groups: 1, groupsPerToken: 1, normalise: false, scale: 1 };
  const sigmoid = { kind: 'grouped-sigmoid', groups: 1, groupsPerToken: 1, normalise: true, scale: 1 };

  it.each<[keyof typeof PUBLISHED, number, number, number, number | undefined, object]>([
    ['Mixtral-8x7B-v0.1', 8, 2, 14336, undefined, { ...soft, normalise: true }],
    ['Qwen1.5-MoE-A2.7B', 60, 4, 1408, 5632, soft],
    ['Qwen3-Coder-30B-A3B', 128, 8, 768, undefined, { ...soft, normalise: true }],
    ['OLMoE-1B-7B-0924', 64, 8, 1024, undefined, soft],
    ['granite-3.0-1b-a400m', 32, 8, 512, undefined, { kind: 'top-k-softmax' }],
    ['GLM-4.5-Air', 128, 8, 1408, 1408, sigmoid],
    ['DeepSeek-V2-Lite', 64, 6, 1408, 2816, soft],
    ['DeepSeek-V2', 160, 6, 1536, 3072, { ...soft, groups: 8, groupsPerToken: 3, scale: 16 }],
    ['Llama-4-Maverick (text_config)', 128, 1, 8192, 8192, { kind: 'top-k-sigmoid' }],
  ])('%s has its experts', (name, count, perToken, width, sharedWidth, router) => {
    const found = experts(published(name));
    expect(found).toMatchObject({ count, perToken, router, expert: { width } });
    expect(found.shared?.feedForward.width).toBe(sharedWidth);
  });

  it('say what attention is', () => {
    const attention = (name: keyof typeof PUBLISHED) => published(name).layers[0]!.attention;
    expect(attention('Mixtral-8x7B-v0.1').rope!.frequencies[1]).toBeCloseTo(1e6 ** (-2 / 128), 14);
    expect(attention('GLM-4.5-Air')).toMatchObject({ rope: { dim: 64, pairs: 'half-split' }, qkNorm: null });
    expect(published('GLM-4.5-Air').layers[0]!.attentionBias).toEqual({ qkv: true, output: false });
    expect(attention('granite-3.0-1b-a400m').scale).toBe(1 / 64);
    expect(attention('OLMoE-1B-7B-0924')).toMatchObject({ qkNorm: { scope: 'heads-together' }, clip: null });
    expect(attention('Qwen3-Coder-30B-A3B')).toMatchObject({ headDim: 128, qkNorm: { scope: 'head' } });
    expect(attention('DeepSeek-V2-Lite').scale).toBeCloseTo((0.0707 * Math.log(40) + 1) ** 2 / Math.sqrt(192), 14);
    expect(attention('DeepSeek-V2-Lite').rope).toMatchObject({ magnitude: 1, pairs: 'interleaved' });
    expect(attention('DeepSeek-V2').scale).toBeCloseTo(1 / Math.sqrt(192), 14);
  });

  it('say by what Granite multiplies', () => {
    const { embedding, head, layers } = published('granite-3.0-1b-a400m');
    const [{ attentionBranch, feedForwardBranch }] = layers as [ModelConfig['layers'][number]];
    expect([embedding.scale, head.scale, head.tied]).toEqual([12, 1 / 6, true]);
    expect([attentionBranch.scale, feedForwardBranch.scale]).toEqual([0.22, 0.22]);
    expect(configure('granitemoe', {}, ['attention_multiplier']).layers[0]!.attention.scale).toBe(1);
  });

  it('have the dense layers that they name', () => {
    expect(kinds(published('Qwen1.5-MoE-A2.7B'))).toBe('e'.repeat(24));
    expect(kinds(published('GLM-4.5-Air'))).toBe(`g${'e'.repeat(45)}`);
    expect(kinds(published('Llama-4-Maverick (text_config)'))).toBe('ge'.repeat(24));
    expect(kinds(published('Qwen3-Coder-30B-A3B', { decoder_sparse_step: 3, mlp_only_layers: [2] }))).toBe(
      `ggg${'gge'.repeat(15)}`,
    );
  });
});

describe('windows', () => {
  it.each<[string, Json, string[], string[]]>([
    ['mixtral', {}, [], ['sliding', 'sliding']],
    ['mixtral', {}, ['sliding_window'], ['causal', 'causal']], // unlike Mistral's, a silent file has none
    ['qwen3-moe', { sliding_window: 9 }, [], Array(4).fill('causal')],
    ['qwen3-moe', { sliding_window: 9, use_sliding_window: true }, [], Array(4).fill('sliding')],
    [
      'qwen2-moe',
      { use_sliding_window: true, sliding_window: 8, max_window_layers: 2 },
      ['layer_types'],
      ['sliding', 'causal', 'causal'],
    ],
  ])('of %s with %j, without %j', (name, change, without, expected) => {
    expect(seen(configure(name, change, without))).toEqual(expected);
  });

  it('of qwen2_moe are refused where the file does not use them', () => {
    const layer_types = ['full_attention', 'sliding_attention', 'full_attention'];
    expect(() => configure('qwen2-moe', { layer_types })).toThrow(
      'layer_types[1] is sliding_attention, and there is no window (sliding_window is null or 0, or use_sliding_window is false).',
    );
  });
});

describe('qwen3_moe', () => {
  it('counts its experts by the name of the hub, or by the one that transformers 5 writes', () => {
    const count = (change: Json, without: string[] = []) => experts(configure('qwen3-moe', change, without)).count;
    expect(count({})).toBe(4);
    expect(count({ num_experts: 6 }, ['num_local_experts'])).toBe(6);
    expect(count({}, ['num_local_experts'])).toBe(128);
    expect(() => count({ num_experts: 6 })).toThrow('num_local_experts = 4 contradicts num_experts = 6.');
  });
});

describe('deepseek_v2', () => {
  it('takes no notice of groups where the method is greedy, and does not divide weights by their sum', () => {
    const router = (change: Json) => experts(configure('deepseek-v2', change)).router;
    expect(router({})).toMatchObject({ groups: 3, groupsPerToken: 2, scale: 2 });
    expect(router({ topk_method: 'greedy' })).toMatchObject({ groups: 1, normalise: false });
    expect(() => router({ norm_topk_prob: true })).toThrow('and transformers never does');
  });

  it('takes the code that transformers took over, in its own folder or in another of the hub', () => {
    for (const folder of ['', 'deepseek-ai/DeepSeek-V2--']) {
      const auto_map = { AutoModelForCausalLM: `${folder}modeling_deepseek.DeepseekV2ForCausalLM` };
      expect(configure('deepseek-v2', { auto_map })).toEqual(configure('deepseek-v2'));
    }
  });

  it('gives the dense layers and the shared experts biases, and the others none', () => {
    const { layers } = configure('deepseek-v2', { mlp_bias: true });
    const { expert, shared } = layers[1]!.feedForward as ExpertsConfig;
    const dense = layers[0]!.feedForward as GatedConfig;
    expect([dense, expert, shared!.feedForward].map((part) => part.bias)).toEqual([true, false, true]);
  });
});

describe('llama4_text', () => {
  const layers = (change: Json = {}, without: string[] = []) => configure('llama4-text', change, without).layers;
  const bare = ['no_rope_layers', 'layer_types', 'moe_layers'];

  it('sees chunks where it has rope, and warms its queries where it has none', () => {
    const [first, , third] = layers();
    expect(first).toMatchObject({ visibility: { kind: 'chunked', chunk: 12 }, attention: { temperature: null } });
    expect(first!.attention).toMatchObject({ qkNorm: { place: 'after-rope', norm: { weight: false } } });
    expect(third).toMatchObject({ visibility: { kind: 'causal' }, attention: { rope: null, qkNorm: null } });
    expect(third!.attention).toMatchObject({ temperature: { floorScale: 8, attentionScale: 0.4 } });
    expect(layers({ attn_temperature_tuning: false })[2]!.attention).toMatchObject({ temperature: null });
  });

  it('makes its patterns of steps where there are no lists, or empty ones', () => {
    const unrotated = (change: Json) => layers(change, bare).map(({ attention }) => attention.rope === null);
    expect(unrotated({})).toEqual([false, false, true, false]);
    expect(unrotated({ no_rope_layers: [], no_rope_layer_interval: 2 })).toEqual([false, true, false, true]);
    expect(kinds(configure('llama4-text', { interleave_moe_layer_step: 3 }, bare))).toBe('ggeg');
    const none = { moe_layers: [], interleave_moe_layer_step: 0, num_local_experts: 0, num_experts_per_tok: 0 };
    expect(kinds(configure('llama4-text', none))).toBe('gggg');
  });
});

describe.each(['glm4-moe', 'deepseek-v3'])('%s', (name) => {
  it('leaves out the layers of multi-token prediction, which stand after its own', () => {
    const folder = copyOf(`families/${name}`);
    const tensors = tensorsOf(folder);
    const own = tensors.find((tensor) => tensor.name === 'model.norm.weight')!;
    const write = (layer: number) =>
      writeTensors(folder, [...tensors, { ...own, name: `model.layers.${layer}.enorm.weight` }]);
    write(2);
    expect(loadModel(folder).config.layers).toHaveLength(2);
    write(1);
    expect(() => loadModel(folder)).toThrow('model.layers.1.enorm.weight');
  });
});

describe('refused', () => {
  it.each<[string, Json, string]>([
    ['mixtral', { num_experts_per_tok: 5 }, 'num_experts_per_tok = 5 exceeds num_local_experts = 4'],
    ['qwen3-moe', { shared_expert_intermediate_size: 8 }, 'there are no shared experts in this family'],
    ['qwen3-moe', { use_qk_norm: false }, 'queries and keys are always normed in this family'],
    ['deepseek-v2', { n_group: null }, 'topk_method = "group_limited_greedy" needs n_group and topk_group'],
    ['deepseek-v2', { topk_method: 'noaux_tc' }, 'topk_method'],
    ['deepseek-v2', { auto_map: { AutoModelForCausalLM: 'modeling_x.X' } }, 'only modeling_deepseek is known'],
    ['deepseek-v2', { auto_map: { AutoModelForCausalLM: 'remodeling_deepseek.X' } }, 'only modeling_deepseek is known'],
    ['deepseek-v2', { auto_map: { AutoModelForCausalLM: 'modeling_deepseek_x.X' } }, 'only modeling_deepseek is known'],
    ['deepseek-v2', { n_group: 4 }, 'n_routed_experts = 6 does not make n_group = 4 groups of one size'],
    ['glm4-moe', { n_group: 6 }, 'n_routed_experts = 6 does not make n_group = 6 groups of two or more'],
    ['glm4-moe', { quantization_config: {} }, 'the key quantization_config.quant_method is missing'],
    ['glm4-moe', { quantization_config: { quant_method: 'gptq' } }, 'quant_method = "gptq" is not supported'],
    ['llama4-text', { attention_chunk_size: null }, 'layers with chunked_attention need an attention_chunk_size'],
    ['llama4-text', { no_rope_layers: [1, 0] }, 'no_rope_layers has 2 entries, and num_hidden_layers = 4'],
    ['llama4-text', { num_experts_per_tok: 0 }, 'some layers have experts, and num_experts_per_tok = 0'],
  ])('%s with %j', (name, change, message) => {
    expect(() => configure(name, change)).toThrow(message);
  });

  it('a file that joins a text model with others, with what to do', () => {
    const raw = { model_type: 'llama4', text_config: { model_type: 'llama4_text' }, vision_config: {} };
    expect(() => familyOf(raw, 'config.json')).toThrow(
      'model_type = "llama4" joins a text model with others; touchstone reads the text model (llama4_text) alone: save it by itself',
    );
    expect(() => familyOf({ ...raw, text_config: { model_type: 'mamba' } }, 'config.json')).toThrow('not supported');
  });
});
