/** Checkpoints whose tensors have the names of older files, or of a base model's. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { LatentWeights } from '../../attention/strategy/strategy.js';
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/safetensors/write.js';
import { TensorSource } from '../../src/checkpoint/tensor-source.js';
import { loadModel } from '../../src/model/load.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

/** The tensors of a fixture. */
function tensorsOf(name: string): TensorToWrite[] {
  const source = new TensorSource(fixture(name));
  try {
    return source.entries().map(({ name, shape }) => {
      const { dtype, bits } = source.take(name, shape);
      return { name, dtype, shape, data: bits };
    });
  } finally {
    source.close();
  }
}

describe('tensors under older names', () => {
  /** The fixture's checkpoint with its tensors called otherwise, and buffers beside them. */
  function renamed(name: string, rename: (tensor: string) => string, buffers: readonly string[]): string {
    const folder = temporaryFolder();
    const tensors = tensorsOf(`families/${name}`).map((tensor) => ({ ...tensor, name: rename(tensor.name) }));
    const empty = buffers.map(
      (buffer) => ({ name: buffer, dtype: 'U8', shape: [1], data: new Uint8Array(1) }) as const,
    );
    writeSafetensors(join(folder, 'model.safetensors'), [...tensors, ...empty]);
    writeFileSync(join(folder, 'config.json'), readFileSync(fixture(`families/${name}/config.json`)));
    return folder;
  }

  const within = (prefix: string) => (tensor: string) => tensor.replace(new RegExp(`^${prefix}\\.`), '');

  it.each<[string, (tensor: string) => string, string[]]>([
    ['gpt2-scaled', within('transformer'), ['h.0.attn.bias', 'h.1.attn.masked_bias']],
    ['gpt-neo', within('transformer'), ['h.0.attn.attention.bias', 'h.1.attn.attention.masked_bias']],
    ['gptj', (tensor) => tensor, ['transformer.h.0.attn.bias', 'transformer.h.0.attn.masked_bias']],
    [
      'gpt-neox',
      (tensor) => tensor.replace(/^(lm_head|embed_out)/, 'embed_out'),
      ['gpt_neox.layers.0.attention.rotary_emb.inv_freq', 'gpt_neox.layers.0.attention.bias'],
    ],
    [
      'gpt-neox',
      (tensor) => tensor.replace(/^(lm_head|embed_out)/, 'lm_head'),
      ['gpt_neox.layers.1.attention.masked_bias'],
    ],
    ['opt', within('model'), ['decoder.version']],
    ['bloom', within('transformer'), []],
    ['persimmon', (tensor) => tensor, ['model.layers.0.self_attn.rotary_emb.inv_freq']],
  ])('%s', (name, rename, buffers) => {
    const { weights } = loadModel(renamed(name, rename, buffers));
    const strip = (value: unknown) => JSON.stringify(value, (key, member) => (key === 'name' ? undefined : member));
    expect(strip(weights)).toBe(strip(loadModel(fixture(`families/${name}`)).weights));
  });

  it('are left over where no model has them', () => {
    expect(() => loadModel(renamed('gpt2-scaled', within('transformer'), ['h.0.attn.bias2']))).toThrow(
      'h.0.attn.bias2 is left over',
    );
  });
});

describe('a head that is tied', () => {
  const [EMBEDDING, HEAD] = ['model.embed_tokens.weight', 'lm_head.weight'];

  /** A fixture with a tied head: with this copy of it, or without. */
  function tied(name: string, copyOf?: (embedding: TensorToWrite) => TensorToWrite): string {
    const folder = temporaryFolder();
    const tensors = tensorsOf(name).filter((tensor) => tensor.name !== HEAD);
    const embedding = tensors.find((tensor) => tensor.name === EMBEDDING)!;
    const copies = copyOf ? [{ ...copyOf(embedding), name: HEAD }] : [];
    writeSafetensors(join(folder, 'model.safetensors'), [...tensors, ...copies]);
    const config = JSON.parse(readFileSync(join(fixture(name), 'config.json'), 'utf8')) as object;
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, tie_word_embeddings: true }));
    return folder;
  }

  it('has its own bias, with a copy of the embedding in the file and without', () => {
    const { bias } = loadModel(fixture('families/phi')).weights.head.output;
    for (const folder of [tied('families/phi'), tied('families/phi', (embedding) => embedding)]) {
      const { embedding, head } = loadModel(folder).weights;
      expect(head.output.weight).toBe(embedding.tokens);
      expect(head.output.bias).toEqual(bias);
    }
  });

  it('is refused where a copy differs, be it in its last value alone, or in the dtype that its bits are of', () => {
    const last = (embedding: TensorToWrite) => {
      const data = embedding.data.slice();
      data[data.length - 1] = Number(data.at(-1)) + 1;
      return { ...embedding, data };
    };
    const halves = (embedding: TensorToWrite) => ({ ...embedding, dtype: 'F16' as const });
    for (const copyOf of [last, halves]) {
      expect(() => loadModel(tied('tiny-llama-linear-bf16', copyOf))).toThrow(`${HEAD} differs from ${EMBEDDING}`);
    }
  });
});

it.each([
  ['deepseek-v2', ['q_a_proj', 'kv_a_proj_with_mqa', 'o_proj']],
  ['deepseek-v2-lite', ['kv_a_proj_with_mqa', 'o_proj']],
])('attention over a latent has biases where %s may have them: on %j', (name, biased) => {
  const folder = temporaryFolder();
  const tensors = tensorsOf(`families/${name}`);
  const biases = tensors.flatMap((tensor): TensorToWrite[] => {
    const [, module, projection] = /^(.*\.self_attn\.(\w+))\.weight$/.exec(tensor.name) ?? [];
    if (!projection || !biased.includes(projection)) return [];
    const outputs = tensor.shape[0]!;
    return [{ name: `${module}.bias`, dtype: 'F32', shape: [outputs], data: new Float32Array(outputs).fill(outputs) }];
  });
  writeSafetensors(join(folder, 'model.safetensors'), [...tensors, ...biases]);
  const config = JSON.parse(readFileSync(fixture(`families/${name}/config.json`), 'utf8')) as object;
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, attention_bias: true }));
  const { compress, output } = loadModel(folder).weights.layers[0]!.attention as LatentWeights;
  for (const { weight, bias } of [compress, output])
    expect(bias).toEqual(new Float32Array(weight.rows).fill(weight.rows));
});
