/** What mutants mean, by an oracle that knows nothing of them: checkpoints whose files say the mistake compute the same. */
import { expect, it } from 'vitest';
import type { TensorToWrite } from '../../../src/checkpoint/safetensors/write.js';
import { loadModel } from '../../../src/model/load.js';
import { forward } from '../../../src/model/transformer.js';
import { candidatesFor } from '../../../src/reference/mutants/index.js';
import { type Floats, flat } from '../../../src/tensor/tensor.js';
import { computed, lawIds, lawModel } from '../../support/mutant-laws.js';
import { changed, replaced, without } from '../../support/retouched.js';

type Raw = Record<string, unknown>;
type Tensors = (all: TensorToWrite[]) => TensorToWrite[];

/** Rows of a tensor, as bytes: those of its first axis. */
const rowsOf = ({ data, shape }: TensorToWrite, rows = shape[0]!) => {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const size = bytes.length / rows;
  return Array.from({ length: rows }, (_, row) => bytes.slice(row * size, (row + 1) * size));
};

const joined = (rows: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(rows));

/** Both have the bytes of the other. */
const swapped = (one: RegExp, other: (name: string) => string) => (all: TensorToWrite[]) => {
  const partner = new Map(all.filter(({ name }) => one.test(name)).map(({ name }) => [name, other(name)]));
  const back = new Map([...partner].map(([from, to]) => [to, from]));
  const find = (name: string) => all.find((tensor) => tensor.name === name)!;
  return all.map((tensor) => {
    const from = partner.get(tensor.name) ?? back.get(tensor.name);
    return from === undefined ? tensor : { ...find(from), name: tensor.name };
  });
};

/** Each query head gets a copy of a key/value head for itself. */
const keysForAll =
  (heads: number, groups: number, groupOf: (head: number) => number): Tensors =>
  (all) =>
    all.map((tensor) => {
      if (!/\.[kv]_proj\.weight$/.test(tensor.name)) return tensor;
      const own = rowsOf(tensor, groups);
      const data = joined(Array.from({ length: heads }, (_, h) => own[groupOf(h)]!));
      return { ...tensor, data, shape: [(tensor.shape[0]! / groups) * heads, tensor.shape[1]!] };
    });

const rolled = ({ shape }: TensorToWrite, rows: readonly Uint8Array[], by: number) => ({
  shape,
  data: joined(rows.map((_, i) => rows[Math.min(Math.max(i + by, 0), rows.length - 1)]!)),
});

const same: Tensors = (all) => all;

const rope = (raw: Raw, more: Raw): Raw => ({ ...raw, rope_parameters: { ...(raw.rope_parameters as Raw), ...more } });

interface Case {
  readonly mutant: string;
  readonly of: string;
  readonly config?: (raw: Raw) => Raw;
  readonly tensors?: Tensors;
}

const GEMMA2 = 'families/gemma2';
const MISTRAL = 'tiny-mistral-f16';
const GPT2 = 'families/gpt2-scaled';

const CASES: readonly Case[] = [
  { mutant: 'rope-theta (theta 500000)', of: MISTRAL, config: (raw) => rope(raw, { rope_theta: 500_000 }) },
  { mutant: 'rope-unscaled', of: 'tiny-llama-linear-bf16', config: (raw) => rope(raw, { rope_type: 'default', factor: undefined }) },
  { mutant: 'window-short', of: MISTRAL, config: (raw) => ({ ...raw, sliding_window: 15 }) },
  { mutant: 'window-long', of: MISTRAL, config: (raw) => ({ ...raw, sliding_window: 17 }) },
  { mutant: 'window-missing', of: MISTRAL, config: (raw) => ({ ...raw, sliding_window: null }) },
  { mutant: 'window-layers-shifted', of: GEMMA2, config: (raw) => ({ ...raw, layer_types: ['full_attention', 'sliding_attention'] }) },
  { mutant: 'window-everywhere', of: GEMMA2, config: (raw) => ({ ...raw, layer_types: ['sliding_attention', 'sliding_attention'] }) },
  { mutant: 'norm-eps (eps 1e-5)', of: GEMMA2, config: (raw) => ({ ...raw, rms_norm_eps: 1e-5 }) },
  { mutant: 'norm-eps (eps 1e-6)', of: GPT2, config: (raw) => ({ ...raw, layer_norm_epsilon: 1e-6 }) },
  { mutant: 'gelu-kind (gelu, exact)', of: GPT2, config: (raw) => ({ ...raw, activation_function: 'gelu' }) },
  { mutant: 'activation (silu)', of: GEMMA2, config: (raw) => ({ ...raw, hidden_activation: 'silu' }) },
  { mutant: 'score-softcap-missing', of: GEMMA2, config: (raw) => ({ ...raw, attn_logit_softcapping: null }) },
  { mutant: 'logit-softcap-missing', of: GEMMA2, config: (raw) => ({ ...raw, final_logit_softcapping: null }) },
  { mutant: 'scale-default', of: GEMMA2, config: (raw) => ({ ...raw, query_pre_attn_scalar: 16 }) },
  { mutant: 'scale-missing', of: GEMMA2, config: (raw) => ({ ...raw, query_pre_attn_scalar: 1 }) },
  { mutant: 'scale-by-width', of: GEMMA2, config: (raw) => ({ ...raw, query_pre_attn_scalar: 48 }) },
  { mutant: 'router-normalised', of: 'families/olmoe', config: (raw) => ({ ...raw, norm_topk_prob: true }) },
  { mutant: 'experts-one-fewer', of: 'families/mixtral', config: (raw) => ({ ...raw, num_experts_per_tok: 1 }) },
  {
    mutant: 'head-tied', of: MISTRAL,
    config: (raw) => ({ ...raw, tie_word_embeddings: true }),
    tensors: without('lm_head.weight'),
  },
  {
    mutant: 'qk-norm-missing', of: 'families/qwen3',
    config: ({ max_window_layers, use_sliding_window, sliding_window, layer_types, ...raw }) => ({ ...raw, model_type: 'llama', architectures: ['LlamaForCausalLM'], mlp_bias: false }),
    tensors: (all) => all.filter(({ name }) => !/\.[qk]_norm\.weight$/.test(name)),
  },
  {
    mutant: 'heads-tiled', of: MISTRAL,
    config: (raw) => ({ ...raw, num_key_value_heads: 8 }),
    tensors: keysForAll(8, 2, (head) => head % 2),
  },
  {
    mutant: 'kv-head-first', of: MISTRAL,
    config: (raw) => ({ ...raw, num_key_value_heads: 8 }),
    tensors: keysForAll(8, 2, () => 0),
  },
  { mutant: 'kv-swapped', of: MISTRAL, tensors: swapped(/k_proj/, (name) => name.replace('k_proj', 'v_proj')) },
  { mutant: 'gate-up-swapped', of: MISTRAL, tensors: swapped(/gate_proj/, (name) => name.replace('gate_proj', 'up_proj')) },
  { mutant: 'norms-swapped', of: MISTRAL, tensors: swapped(/input_layernorm/, (name) => name.replace('input_', 'post_attention_')) },
  { mutant: 'qk-norms-swapped', of: 'families/qwen3', tensors: swapped(/q_norm/, (name) => name.replace('q_norm', 'k_norm')) },
  {
    mutant: 'head-transposed', of: MISTRAL,
    tensors: replaced('lm_head.weight', ({ data, shape: [rows, columns] }) => {
      const [from, to] = [new Uint16Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)), new Uint16Array(rows! * columns!)];
      for (let n = 0; n < rows!; n++) for (let d = 0; d < columns!; d++) to[n * columns! + d] = from[d * rows! + n]!;
      return { data: to };
    }),
  },
  {
    mutant: 'position-off-by-one (too far)', of: GPT2,
    tensors: replaced('transformer.wpe.weight', (tensor) => rolled(tensor, rowsOf(tensor), 1)),
  },
  { mutant: 'positions-missing', of: GPT2, tensors: replaced('transformer.wpe.weight', ({ data }) => ({ data: new Uint8Array(data.byteLength) })) },
  {
    mutant: 'embedding-row-off-by-one', of: MISTRAL,
    tensors: replaced('model.embed_tokens.weight', (tensor) => rolled(tensor, rowsOf(tensor), -1)),
  },
  {
    mutant: 'experts-shifted', of: 'families/mixtral',
    tensors: (all) => all.map((tensor) => {
      const next = tensor.name.replace(/experts\.(\d)/, (_, e) => `experts.${(Number(e) + 1) % 4}`);
      return { ...all.find(({ name }) => name === next)!, name: tensor.name };
    }),
  },
]; // biome-ignore format: a table

it.each(CASES)(
  '$mutant of $of is what a checkpoint that says so would be',
  async ({ mutant, of, config = (raw) => raw, tensors = same }) => {
    const model = lawModel(of, { precision: 'float64' });
    const ids = lawIds(model, 24);
    const found = candidatesFor(model).find(({ name }) => name === mutant);
    expect(
      found,
      candidatesFor(model)
        .map(({ name }) => name)
        .join(),
    ).toBeDefined();
    const wrong = (await computed(model, found!.variant, ids)).points.get('logits')!.values;
    const other = loadModel(changed(of, tensors, config), { attention: model.options.attention, precision: 'float64' });
    const expected = flat(await forward(other, [{ ids, cache: other.components.newCache() }], { logits: 'all' }));
    expect(apart(wrong, expected)).toBeLessThan(1e-12);
    const right = (await computed(model, {}, ids)).points.get('logits')!.values;
    expect(apart(right, expected)).toBeGreaterThan(1e-7);
  },
);

/** The largest difference, as a part of the largest value. */
function apart(a: Floats, b: Floats): number {
  expect(a.length).toBe(b.length);
  let [most, largest] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    most = Math.max(most, Math.abs(a[i]! - b[i]!));
    largest = Math.max(largest, Math.abs(b[i]!));
  }
  return most / largest;
}
