/** Checkpoints whose tensors have the names of older files, or of a base model's. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeSafetensors } from '../../src/checkpoint/safetensors/write.js';
import { TensorSource } from '../../src/checkpoint/tensor-source.js';
import { loadModel } from '../../src/model/load.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

describe('tensors under older names', () => {
  /** The fixture's checkpoint with its tensors called otherwise, and buffers beside them. */
  function renamed(name: string, rename: (tensor: string) => string, buffers: readonly string[]): string {
    const [source, folder] = [new TensorSource(fixture(`families/${name}`)), temporaryFolder()];
    const tensors = source.entries().map((entry) => {
      const { dtype, bits } = source.take(entry.name, entry.shape);
      return { name: rename(entry.name), dtype, shape: entry.shape, data: bits };
    });
    source.close();
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
