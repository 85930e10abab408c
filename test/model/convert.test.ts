import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { convertHeads } from '../../src/model/convert-heads.js';
import { loadModel } from '../../src/model/load.js';
import { makeGolden } from '../../src/reference/golden.js';
import { expectSameBits } from '../support/bits.js';
import { copyOf } from '../support/checkpoint.js';
import { fixture, readGolden, temporaryFolder } from '../support/fixtures.js';

interface Case {
  readonly checkpoint: string;
  readonly to: { readonly key_value_heads: number };
  readonly sha256: Readonly<Record<string, string>>;
  readonly prompt_ids: number[];
  readonly last_logits_float64: number[];
  readonly generated_ids: number[];
}
const cases: Case[] = JSON.parse(readFileSync(fixture('convert.json'), 'utf8'));

describe.each(cases)('$checkpoint to $to.key_value_heads key/value heads', (given) => {
  const convert = () => {
    const out = join(temporaryFolder(), 'converted');
    const done = convertHeads(fixture(given.checkpoint), out, given.to.key_value_heads);
    return { out, done };
  };

  it('has the bytes that torch makes of it', () => {
    const { out, done } = convert();
    const hashes = withSafetensors(join(out, 'model.safetensors'), (file) => {
      expect(file.metadata.get('format')).toBe('pt');
      return done.tensors.map((name) => [
        name,
        createHash('sha256')
          .update(new Uint8Array(file.read(name)))
          .digest('hex'),
      ]);
    });
    expect(Object.fromEntries(hashes)).toEqual(given.sha256);
  });

  it('gives the logits and tokens that transformers gives', async () => {
    const model = loadModel(convert().out, { precision: 'float64' });
    const steps = given.generated_ids.length;
    const golden = await makeGolden(model, given.prompt_ids, model.components.newCache(), { steps });
    expect(golden.generatedIds).toEqual(given.generated_ids);
    const last = golden.logits.subarray((given.prompt_ids.length - 1) * golden.vocabulary);
    for (const [i, truth] of given.last_logits_float64.entries())
      expect(Math.abs(last[i]! - truth)).toBeLessThan(1e-11);
  });
});

describe('a conversion', () => {
  it.each([
    { checkpoint: 'tiny-llama-rope3-f16', to: 8 },
    { checkpoint: 'families/qwen2', to: 4 },
    { checkpoint: 'families/gemma3-text', to: 4 },
  ])('of $checkpoint by repetition changes no bit of a logit', async ({ checkpoint, to }) => {
    const name = basename(checkpoint);
    const out = join(temporaryFolder(), 'mha');
    expect(convertHeads(fixture(checkpoint), out, 'mha')).toMatchObject({ from: 2, to, kind: 'repeated' });
    const run = async (folder: string) => {
      const model = loadModel(folder);
      return (await makeGolden(model, readGolden(name).inputIds, model.components.newCache(), { steps: 0 })).logits;
    };
    expectSameBits(await run(out), await run(fixture(checkpoint)));
  });

  it('takes the tokenizer along, and no golden', () => {
    const out = join(temporaryFolder(), 'mqa');
    convertHeads(fixture('austen-llama'), out, 'mqa');
    expect(readdirSync(out).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
  });

  it('is refused where heads do not fit, where there are none, and where something stands already', () => {
    const out = join(temporaryFolder(), 'out');
    const rope3 = fixture('tiny-llama-rope3-f16');
    expect(() => convertHeads(rope3, out, 3)).toThrow('2 heads, shared by 8 query heads, can become 1, 4, 8, not 3');
    expect(() => convertHeads(rope3, out, 2)).toThrow('has 2 already');
    expect(() => convertHeads(fixture('tiny-deepseek-v3-bf16'), out, 1)).toThrow('come from a latent');
    expect(() => convertHeads(fixture('families/phi3'), out, 1)).toThrow('the heads of phi3 cannot be converted');
    expect(() => convertHeads(fixture('families/olmo2'), out, 1)).toThrow('or spans them all');
    expect(() => convertHeads(fixture('families/cohere-qk'), out, 1)).toThrow('has weights for each head');
    writeFileSync(out, '');
    expect(() => convertHeads(rope3, out, 1)).toThrow('is there already');
  });

  it('leaves nothing where it cannot write', () => {
    const file = join(copyOf('tiny-llama-rope3-f16'), 'config.json');
    expect(() => convertHeads(fixture('tiny-llama-rope3-f16'), join(file, 'out'), 1)).toThrow('cannot be written');
    expect(existsSync(join(file, 'out'))).toBe(false);
  });
});
