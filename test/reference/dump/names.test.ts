import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CheckpointError } from '../../../src/errors.js';
import { loadModel } from '../../../src/model/load.js';
import { CANONICAL, isCanonical } from '../../../src/reference/dump/canonical.js';
import { readNameMap } from '../../../src/reference/dump/name-map.js';
import { canonicalNames, matchNames } from '../../../src/reference/dump/names.js';
import { trace } from '../../../src/reference/trace/index.js';
import { fixture, temporaryFolder } from '../../support/fixtures.js';

const configOf = (checkpoint: string) => loadModel(fixture(checkpoint)).config;

describe('names of a trace', () => {
  it('are those that traces have, but for caches', async () => {
    for (const [name, attention] of [
      ['tiny-deepseek-v3-bf16', 'auto'],
      ['tiny-deepseek-v3-bf16', 'mla'],
      ['families/gemma2', 'auto'],
    ] as const) {
      const { tensors } = await trace(loadModel(fixture(name), { attention }), [1, 2], { capture: 'all' });
      for (const tensor of tensors.keys()) expect(isCanonical(tensor), tensor).toBe(!tensor.includes('.cache.'));
    }
  });

  it('have a number where the point is in a layer, and none where it is not', () => {
    expect(['layers.3.output', 'layers.{i}.output', 'logits'].map(isCanonical)).toEqual([true, true, true]);
    expect(['output', 'layers.3.logits', 'layers.3.input_ids'].map(isCanonical)).toEqual([false, false, false]);
  });

  it('are themselves, in any spelling', () => {
    for (const pattern of CANONICAL) {
      const name = pattern.replace('{i}', '12');
      expect(canonicalNames(name), name).toEqual([name]);
      expect(canonicalNames(name.replaceAll('.', '/')), name).toEqual([name]);
    }
    for (const spelled of [
      'layer.3.attention.q',
      'layers[3].attention.q',
      'layers_3/attention/q',
      'module.layers.3.attention.q',
    ]) {
      expect(canonicalNames(spelled)).toEqual(['layers.3.attention.q']);
    }
  });
});

/** What a name stands for where nothing more is known. */
const WITHOUT_CONFIG: Readonly<Record<string, readonly string[]>> = {
  // Hugging Face
  'model.embed_tokens': ['embeddings'],
  'model.layers.3': ['layers.3.output'],
  'model.layers.3.output': ['layers.3.output'],
  'model.layers.0.input': ['embeddings'],
  'model.layers.3.input': ['layers.2.output'],
  'model.layers.3.input_layernorm': ['layers.3.attention.input'],
  'model.layers.3.self_attn': ['layers.3.attention.output'],
  'model.layers.3.self_attn.q_proj': ['layers.3.attention.q'],
  'model.layers.3.self_attn.o_proj.input': ['layers.3.attention.heads'],
  'model.layers.3.self_attn.q_rope': ['layers.3.attention.q_rope', 'layers.3.attention.q'],
  'transformer.h.3.attn.1': ['layers.3.attention.probabilities'],
  'transformer.h.3.self_attention.1': [], // Falcon's are scores, BLOOM's probabilities
  'model.layers.3.self_attn.kv_a_layernorm': ['layers.3.attention.latent'],
  'model.layers.3.post_attention_layernorm': ['layers.3.attention.output_norm', 'layers.3.feed_forward.input'],
  'model.layers.3.mlp.down_proj.input': ['layers.3.feed_forward.hidden'],
  'model.layers.3.mlp': ['layers.3.feed_forward.output'],
  'model.layers.3.mlp.gate': ['layers.3.router.logits'],
  'model.layers.3.mlp.gate.2': ['layers.3.router.experts'],
  'model.layers.3.mlp.shared_experts.down_proj': [],
  'model.layers.3.mlp.experts.0.down_proj': [],
  'model.norm': ['final_norm'],
  lm_head: ['logits'],
  hidden_states: [],
  'hidden_states.0': ['embeddings'],
  'hidden_states.2': ['layers.1.output', 'final_norm'],
  'transformer.h.3.ln_1': ['layers.3.attention.input'],
  'transformer.h.3.attn.c_proj.input': ['layers.3.attention.heads'],
  'transformer.h.3.ln_2.input': ['layers.3.attention.residual'],
  'transformer.blocks.3.norm_2': ['layers.3.feed_forward.input'],
  'gpt_neox.layers.3.attention.dense': ['layers.3.attention.output'],
  'model.decoder.layers.3.fc2.input': ['layers.3.feed_forward.hidden'],
  'model.decoder.layers.3.self_attn_layer_norm': ['layers.3.attention.input'],
  '_orig_mod.model.layers.3.mlp': ['layers.3.feed_forward.output'],
  // MLX
  'model.layers.3.self_attn.rope': ['layers.3.attention.q_rope', 'layers.3.attention.q'],
  'model.layers.3.self_attn.rope#1': ['layers.3.attention.k_rope', 'layers.3.attention.k'],
  // Meta
  tok_embeddings: ['embeddings'],
  'layers.3.attention': ['layers.3.attention.output'],
  'layers.3.attention.wq': ['layers.3.attention.q'],
  'layers.3.attention.wo': ['layers.3.attention.output'],
  'layers.3.attention_norm': ['layers.3.attention.input'],
  'layers.3.ffn_norm': ['layers.3.feed_forward.input'],
  'layers.3.feed_forward.w2.input': ['layers.3.feed_forward.hidden'],
  norm: ['final_norm'],
  output: ['logits'],
  // llama.cpp
  inp_embd: ['embeddings'],
  'attn_norm-3': ['layers.3.attention.input'],
  'Qcur-3': ['layers.3.attention.q', 'layers.3.attention.q_rope'],
  'Qcur-3.rope': ['layers.3.attention.q_rope', 'layers.3.attention.q'],
  'Kcur-3 (rope)': ['layers.3.attention.k_rope', 'layers.3.attention.k'],
  'Qcur-3 (reshaped)': ['layers.3.attention.q', 'layers.3.attention.q_rope'],
  'k_pe-3.rope': ['layers.3.attention.rope_key_rope'],
  'q-3#2': ['layers.3.attention.q'],
  'Vcur-3': ['layers.3.attention.v'],
  'kq-3': [], // neither scaled nor masked: no trace has it
  'kq_soft_max-3': ['layers.3.attention.probabilities'],
  'kqv_out-3': ['layers.3.attention.heads'],
  'attn_out-3': ['layers.3.attention.output'],
  'ffn_inp-3': ['layers.3.attention.residual'],
  'ffn_norm-3': ['layers.3.feed_forward.input'],
  'ffn_swiglu-3': ['layers.3.feed_forward.hidden'],
  'ffn_sqr(relu)-3': ['layers.3.feed_forward.hidden'],
  'ffn_moe_topk-3': ['layers.3.router.experts'],
  'ffn_out-3': ['layers.3.feed_forward.output'],
  'ffn_post_norm#3': ['layers.3.feed_forward.output_norm'],
  'l_out-3': ['layers.3.output'],
  result_norm: ['final_norm'],
  result_output: ['logits'],
  // what a run was fed and chose
  ids: ['input_ids'],
  tokens: ['input_ids'],
  token_ids: ['input_ids'],
  inp_tokens: ['input_ids'],
  prompt_ids: ['input_ids'],
  'module.tokens': ['input_ids'],
  output_ids: ['generated_ids'],
  generated: ['generated_ids'],
  generated_tokens: ['generated_ids'],
  position_ids: ['positions'],
  inp_pos: ['positions'],
  'tokens.input': [],
  'tokens#1': [],
  'model.layers.3.tokens': [],
  'tokens-3': [],
  // neither
  'toString-3': [],
  constructor: [],
  'attention mask': [],
};

describe('names of others', () => {
  it.each(Object.entries(WITHOUT_CONFIG))('%s', (name, expected) => {
    expect(canonicalNames(name)).toEqual(expected);
    for (const found of expected) expect(isCanonical(found), found).toBe(true);
  });

  /** The same names, where the model decides: [checkpoint, name, meaning]. */
  it.each([
    ['families/gemma2', 'model.layers.1.post_attention_layernorm', ['layers.1.attention.output_norm']],
    ['families/gemma2', 'model.layers.1.pre_feedforward_layernorm.input', ['layers.1.attention.residual']],
    ['families/gemma2', 'model.embed_tokens', []],
    ['families/gemma2', 'lm_head', []],
    ['families/glm4', 'model.layers.1.post_attention_layernorm', ['layers.1.feed_forward.input']],
    ['families/glm4', 'model.layers.1.post_self_attn_layernorm', ['layers.1.attention.output_norm']],
    ['austen-llama', 'model.layers.1.post_attention_layernorm', ['layers.1.feed_forward.input']],
    ['austen-llama', 'model.layers.1.post_attention_layernorm.input', ['layers.1.attention.residual']],
    ['austen-llama', 'model.embed_tokens', ['embeddings']],
    ['austen-llama', 'hidden_states.4', ['final_norm']],
    ['austen-llama', 'hidden_states.5', []],
    ['austen-gpt2', 'transformer.wte', []],
    ['austen-gpt2', 'transformer.h.1.mlp.act', ['layers.1.feed_forward.hidden']],
    ['austen-llama', 'model.layers.1.mlp.act_fn', []],
    ['families/qwen3', 'model.layers.1.self_attn.q_proj', []],
    ['families/qwen3', 'model.layers.1.self_attn.q_norm', ['layers.1.attention.q']],
    ['families/qwen3', 'Qcur_normed-1', ['layers.1.attention.q']],
    ['families/qwen3', 'Qcur-1', ['layers.1.attention.q_rope']],
    ['families/deepseek-v2', 'Qcur-1', ['layers.1.attention.q_rope']],
    [
      'families/llama4-text',
      'model.layers.0.self_attn.qk_norm#1',
      ['layers.0.attention.k_rope', 'layers.0.attention.k'],
    ],
    ['families/llama4-text', 'model.layers.2.self_attn.q_rope', ['layers.2.attention.q_rope']],
    ['families/llama4-text', 'model.layers.1.feed_forward.router', []],
    ['families/olmo', 'model.layers.1.self_attn.v_proj', []],
    ['families/bloom', 'transformer.h.1.self_attention', ['layers.1.attention.residual']],
    ['families/bloom', 'transformer.h.1.mlp', ['layers.1.output']],
    ['families/falcon-new', 'transformer.h.1.mlp', ['layers.1.feed_forward.output']],
    ['families/opt-post-norm', 'model.decoder.layers.1.self_attn_layer_norm', ['layers.1.attention.residual']],
    ['families/opt-post-norm', 'model.decoder.layers.1.final_layer_norm', ['layers.1.output']],
    ['families/opt', 'model.decoder.layers.1.final_layer_norm', ['layers.1.feed_forward.input']],
    ['families/phi', 'ffn_inp-1', []],
    ['families/bloom', 'embd', []],
    ['families/bloom', 'inp_norm-0', ['embeddings']],
    ['austen-llama', 'embd', ['embeddings']],
  ])('%s: %s', (checkpoint, name, expected) => {
    expect(canonicalNames(name, configOf(checkpoint))).toEqual(expected);
  });
});

describe('matching', () => {
  const all = () => true;

  it('takes the most direct of several, and says what is repeated, absent and unknown', () => {
    const theirs = [
      'model',
      'model.norm',
      'lm_head',
      'logits',
      'model.layers.9.mlp',
      'loss',
      'model.layers.0.self_attn.v_proj',
      'model.layers.0.self_attn.v',
    ];
    const { pairs, repeated, absent, unknown } = matchNames(theirs, (name) => !name.startsWith('layers.9'));
    expect(pairs.map(({ theirs, ours }) => [theirs, ours])).toEqual([
      ['model.norm', 'final_norm'],
      ['logits', 'logits'],
      ['model.layers.0.self_attn.v', 'layers.0.attention.v'],
    ]);
    expect([...repeated].sort()).toEqual(['lm_head', 'model', 'model.layers.0.self_attn.v_proj']);
    expect([absent, unknown]).toEqual([['model.layers.9.mlp'], ['loss']]);
  });

  it("takes the last of a router's weights, as llama.cpp makes them", () => {
    const theirs = [
      'ffn_moe_weights_norm-1',
      'ffn_moe_weights-1',
      'ffn_moe_weights_scaled-1',
      'ffn_moe_out-1',
      'ffn_out-1',
    ];
    const { pairs } = matchNames(theirs, all);
    expect(pairs.map(({ theirs }) => theirs)).toEqual(['ffn_moe_weights_scaled-1', 'ffn_out-1']);
  });

  it('takes the later of two tensors with one name: the one with the bias, the one that was normed', () => {
    const theirs = [
      'Kcur-0.rope',
      'Kcur-0',
      'Kcur-0#1',
      'Qcur_normed-0',
      'Qcur-0',
      'Qcur-0.rope',
      'attn_out-0',
      'attn_out-0#1',
    ];
    expect(matchNames(theirs, all).pairs.map(({ theirs, ours }) => [ours, theirs])).toEqual([
      ['layers.0.attention.k_rope', 'Kcur-0.rope'],
      ['layers.0.attention.k', 'Kcur-0#1'],
      ['layers.0.attention.q', 'Qcur_normed-0'],
      ['layers.0.attention.q_rope', 'Qcur-0.rope'],
      ['layers.0.attention.output', 'attn_out-0#1'],
    ]);
  });

  it('says where a name leaves open which it is, unless another one has it', () => {
    expect(matchNames(['Qcur-0'], all).pairs).toEqual([
      { theirs: 'Qcur-0', ours: 'layers.0.attention.q', alternatives: ['layers.0.attention.q_rope'], fused: null },
    ]);
    expect(
      matchNames(['Qcur-0', 'Qcur-0.rope'], all).pairs.map(({ ours, alternatives }) => [ours, alternatives]),
    ).toEqual([
      ['layers.0.attention.q', []],
      ['layers.0.attention.q_rope', []],
    ]);
  });

  it('takes queries, keys and values out of one tensor, where they are not there themselves', () => {
    const found = matchNames(['transformer.h.0.attn.c_attn', 'transformer.h.0.attn.v'], all).pairs;
    expect(found.map(({ theirs, ours, fused }) => [theirs, ours, fused])).toEqual([
      ['transformer.h.0.attn.v', 'layers.0.attention.v', null],
      ['transformer.h.0.attn.c_attn', 'layers.0.attention.q', 'q'],
      ['transformer.h.0.attn.c_attn', 'layers.0.attention.k', 'k'],
    ]);
    const normed = matchNames(['model.layers.1.self_attn.query_key_value'], all, {
      config: configOf('families/persimmon'),
    });
    expect(
      normed.pairs.map(({ ours }) => ours),
      'queries and keys are normed afterwards',
    ).toEqual(['layers.1.attention.v']);
    expect(matchNames(['wqkv-0', 'wqkv_b-0'], all)).toMatchObject({ repeated: ['wqkv-0'] });
    expect(
      matchNames(['model.layers.0.self_attn.qkv_proj'], all, { config: configOf('families/deepseek-v2') }).unknown,
    ).toHaveLength(1);
    expect(
      matchNames(['transformer.blocks.0.attn.Wqkv'], all, { config: configOf('families/mpt-clip') }).unknown,
    ).toHaveLength(1);
  });
});

describe("a user's table", () => {
  const stored = (map: unknown) => {
    const path = join(temporaryFolder(), 'map.json');
    writeFileSync(path, JSON.stringify(map));
    return path;
  };

  it('maps names, with numbers of layers, before all conventions', () => {
    const map = readNameMap(
      stored({ 'blk{i}/q (1)': 'layers.{i}.attention.q', out: 'logits', 'attn_norm-0': 'layers.1.attention.input' }),
    );
    expect([map('blk12/q (1)'), map('out'), map('blk/q (1)'), map('xout')]).toEqual([
      'layers.12.attention.q',
      'logits',
      null,
      null,
    ]);
    const { pairs } = matchNames(['attn_norm-0', 'attn_norm-2'], () => true, { map });
    expect(pairs.map(({ ours }) => ours)).toEqual(['layers.1.attention.input', 'layers.2.attention.input']);
  });

  it.each([
    [
      { a: 'layers.0.atention.q' },
      'is mapped to "layers.0.atention.q", which is no name of a trace; did you mean layers.{i}.attention.q?',
    ],
    [{ a: 'logit' }, 'did you mean logits?'],
    [{ a: 3 }, 'is mapped to 3, which is no name of a trace'],
    [{ 'a{i}': 'logits' }, '"a{i}" -> "logits" has {i}'],
    [{ a: 'layers.{i}.output' }, 'on one side alone'],
    [['a'], 'expected {"their name": "our name", ...}'],
  ])('refuses %j', (map, message) => {
    const path = stored(map);
    expect(() => readNameMap(path)).toThrow(CheckpointError);
    expect(() => readNameMap(path)).toThrow(message);
    expect(() => readNameMap(path)).toThrow(path);
  });
});
