import { copyFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { loadModel, type Model } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { type Floats, flat } from '../../src/tensor/tensor.js';
import { copyOf, editJson, shard, tensorsOf, writeTensors } from '../support/checkpoint.js';
import { fixture } from '../support/fixtures.js';

const NAME = 'tiny-llama-linear-bf16';
const ids = [3, 1, 4, 1, 5, 9, 2, 6];

async function logits(model: Model): Promise<Floats> {
  return flat(await forward(model, [{ ids, cache: model.components.newCache() }], { logits: 'all' }));
}

function refusal(folder: string): string {
  try {
    loadModel(folder);
  } catch (error) {
    expect(error).toBeInstanceOf(CheckpointError);
    return (error as Error).message;
  }
  throw new Error('expected the checkpoint to be refused');
}

/** What is said of a config.json with some keys changed. */
function refusalWith(change: Record<string, unknown>, name = NAME): string {
  const folder = copyOf(name);
  editJson(join(folder, 'config.json'), (config) => ({ ...config, ...change }));
  const message = refusal(folder);
  expect(message).toContain(folder);
  return message;
}

describe('config.json', () => {
  it.each<[what: string, change: Record<string, unknown>, message: string]>([
    ['no model_type', { model_type: undefined }, 'the key model_type is missing'],
    ['an odd head dim', { head_dim: 15 }, 'the head dim 15'],
    ['a head dim that is no whole number', { head_dim: null, hidden_size: 66 }, 'the head dim 16.5'],
    ['an unknown key', { sliding_window: 9 }, 'the key sliding_window = 9 is not understood'],
    ['code of its own', { auto_map: { AutoModelForCausalLM: 'modeling_x.X' } }, 'the key auto_map = '],
    ['an unknown activation', { hidden_act: 'glu' }, 'the key hidden_act = "glu" is not valid'],
    ['a layer count that is no number', { num_hidden_layers: '2' }, 'the key num_hidden_layers = "2" is not valid'],
    ['no width', { hidden_size: undefined }, 'the key hidden_size is missing'],
    [
      'an unknown member of rope',
      { rope_parameters: { rope_type: 'default', phase: 0.5 } },
      'the key rope_parameters.phase = 0.5 is not understood',
    ],
    [
      'rope on a part of a head',
      { rope_parameters: { rope_type: 'default', partial_rotary_factor: 0.5 } },
      'partial_rotary_factor = 0.5, and this family rotates whole heads',
    ],
    [
      'rope in both spellings',
      { rope_scaling: { type: 'linear', factor: 2 } },
      'both rope_parameters and rope_scaling',
    ],
    [
      'more layers than memory holds',
      { num_hidden_layers: 300_000_000 },
      'the key num_hidden_layers = 300000000 is not valid',
    ],
    ['a head dim beyond all models', { head_dim: 2 ** 40 }, 'the key head_dim = 1099511627776 is not valid'],
    [
      'two types of rope',
      { rope_parameters: undefined, rope_scaling: { type: 'yarn', rope_type: 'linear', factor: 2 } },
      'the key rope_scaling.type = "yarn" is not understood',
    ],
    ['two thetas', { rope_theta: 9 }, 'rope_theta = 9 contradicts the 5000 given with the rope type'],
    [
      'yarn with a theta of 1',
      { rope_parameters: { rope_type: 'yarn', rope_theta: 1, factor: 2 } },
      'yarn needs a rope_theta above 1',
    ],
    ['interleaved rope', { rope_interleaved: true }, 'only the half-split layout of rope is supported'],
    ['an encoder', { is_encoder_decoder: true }, 'only decoder-only models'],
  ])('refuses %s', (_, change, message) => {
    expect(refusalWith(change)).toContain(message);
  });

  it('refuses what is no JSON object', () => {
    const folder = copyOf(NAME);
    for (const [text, message] of [
      ['[1]', 'got an array'],
      ['null', 'got null'],
      ['{', 'expected JSON'],
    ] as const) {
      writeFileSync(join(folder, 'config.json'), text);
      expect(refusal(folder)).toContain(message);
    }
    rmSync(join(folder, 'config.json'));
    expect(refusal(folder)).toContain('config.json: there is no such file');
    expect(refusal('/nowhere')).toContain('expected a checkpoint folder');
  });

  it('may have the keys that SmolLM2 has', () => {
    const folder = copyOf(NAME);
    const keys = { is_llama_config: true, rope_interleaved: false, 'transformers.js_config': { kv_cache_dtype: {} } };
    editJson(join(folder, 'config.json'), (config) => ({ ...config, ...keys }));
    expect(loadModel(folder).config.layers).toHaveLength(2);
  });

  it('may name keys that are known not to matter', () => {
    const folder = copyOf(NAME);
    editJson(join(folder, 'config.json'), (config) => ({ ...config, my_own_note: true }));
    expect(refusal(folder)).toContain('--ignore-config-key');
    expect(loadModel(folder, { ignoreConfigKeys: ['my_own_note'] }).config.layers).toHaveLength(2);
  });

  it('may name members of a key, too', () => {
    const folder = copyOf(NAME);
    const scaling = { type: 'yarn', factor: 2, finetuned: true };
    editJson(join(folder, 'config.json'), ({ rope_parameters: _, ...config }) => ({
      ...config,
      rope_scaling: scaling,
    }));
    expect(refusal(folder)).toContain('the key rope_scaling.finetuned = true is not understood');
    expect(loadModel(folder, { ignoreConfigKeys: ['rope_scaling.finetuned'] }).config.layers).toHaveLength(2);
  });

  it('gives the same logits in both spellings of rope', async () => {
    const expected = await logits(loadModel(fixture(NAME)));
    for (const scaling of [
      { type: 'linear', factor: 2 },
      { rope_type: 'linear', type: 'linear', factor: 2 },
    ]) {
      const folder = copyOf(NAME);
      editJson(join(folder, 'config.json'), ({ rope_parameters: _, dtype, ...config }) => ({
        ...config, torch_dtype: dtype, rope_theta: 5000, rope_scaling: scaling,
      })); // biome-ignore format: one change
      expect(await logits(loadModel(folder))).toEqual(expected);
    }
  });

  it('is frozen once it is read', () => {
    const { config } = loadModel(fixture(NAME));
    expect(Object.isFrozen(config.layers[0]!.attention.rope!.frequencies)).toBe(true);
  });
});

describe('weights', () => {
  const changed = (change: (tensors: ReturnType<typeof tensorsOf>) => ReturnType<typeof tensorsOf>): string => {
    const folder = copyOf(NAME);
    writeTensors(folder, change(tensorsOf(folder)));
    return folder;
  };

  it('are refused if one is missing or left over', () => {
    expect(refusal(changed((tensors) => tensors.filter(({ name }) => name !== 'model.norm.weight')))).toContain(
      'tensor model.norm.weight is missing; expected shape [64]',
    );
    expect(refusal(changed((tensors) => [...tensors, { ...tensors[0]!, name: 'extra' }]))).toContain(
      'tensor extra is left over',
    );
  });

  it('are refused in a dtype that is no float', () => {
    const folder = changed((tensors) =>
      tensors.map((tensor) => (tensor.name === 'lm_head.weight' ? { ...tensor, dtype: 'I16' } : tensor)),
    );
    expect(refusal(folder)).toContain(
      'tensor lm_head.weight is I16; weights must be F64, F32, F16, BF16, F8_E4M3 or F8_E5M2',
    );
  });

  it('are refused with a head that contradicts being tied', () => {
    expect(refusalWith({ tie_word_embeddings: true })).toContain(
      'lm_head.weight differs from model.embed_tokens.weight',
    );
  });

  it('may hold a tied head as a copy, and rope buffers that old files saved', async () => {
    const folder = changed((tensors) => {
      const embedding = tensors.find(({ name }) => name === 'model.embed_tokens.weight')!;
      const buffer = {
        ...tensors.find(({ name }) => name === 'model.norm.weight')!,
        name: 'model.layers.0.self_attn.rotary_emb.inv_freq',
      };
      return [
        ...tensors.filter(({ name }) => name !== 'lm_head.weight'),
        { ...embedding, name: 'lm_head.weight' },
        buffer,
      ];
    });
    const untied = await logits(loadModel(folder));
    editJson(join(folder, 'config.json'), (config) => ({ ...config, tie_word_embeddings: true }));
    expect(await logits(loadModel(folder))).toEqual(untied);
  });
});

describe('shards', () => {
  it('give the logits of the whole file', async () => {
    const folder = copyOf(NAME);
    shard(folder);
    expect(await logits(loadModel(folder))).toEqual(await logits(loadModel(fixture(NAME))));
  });

  it('yield to a single file beside them, of which they may be an older form', async () => {
    const folder = copyOf(NAME);
    shard(folder);
    copyFileSync(fixture(`${NAME}/model.safetensors`), join(folder, 'model.safetensors'));
    writeFileSync(join(folder, 'model-00001-of-00002.safetensors'), 'damaged');
    expect(await logits(loadModel(folder))).toEqual(await logits(loadModel(fixture(NAME))));
  });

  it('count whole, whatever the index leaves out and says beside', async () => {
    const folder = copyOf(NAME);
    shard(folder, ({ 'lm_head.weight': _, ...map }) => map);
    const index = join(folder, 'model.safetensors.index.json');
    editJson(index, (given) => ({ ...given, metadata: { total_size: 1, total_parameters: 2 } }));
    expect(await logits(loadModel(folder))).toEqual(await logits(loadModel(fixture(NAME))));
    writeTensors(folder, [{ name: 'extra', dtype: 'U8', shape: [1], data: new Uint8Array(1) }]);
    renameSync(join(folder, 'model.safetensors'), join(folder, 'model-00003-of-00003.safetensors'));
    editJson(index, ({ weight_map, ...given }) => ({
      ...given,
      weight_map: { ...(weight_map as object), extra: 'model-00003-of-00003.safetensors' },
    }));
    expect(refusal(folder)).toContain('model-00003-of-00003.safetensors: tensor extra is left over');
  });

  it.each(['model-00001-of-00163.safetensors', 'model.fp16-00001-of-00002.safetensors', 'consolidated_0.safetensors'])(
    'may be called %s',
    (name) => {
      const folder = copyOf(NAME);
      renameSync(join(folder, 'model.safetensors'), join(folder, name));
      const map = Object.fromEntries(tensorsOf(fixture(NAME)).map((tensor) => [tensor.name, name]));
      writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
      expect(loadModel(folder).files.map((file) => basename(file))).toEqual(['config.json', name]);
    },
  );

  it('and all other weights may be missing, or of a form that is not read', () => {
    const folder = copyOf(NAME);
    rmSync(join(folder, 'model.safetensors'));
    const nothing = `${folder}: there is neither model.safetensors nor model.safetensors.index.json`;
    expect(refusal(folder)).toBe(`${nothing}, only golden.safetensors.`);
    writeFileSync(join(folder, 'pytorch_model.bin'), '');
    expect(refusal(folder)).toContain('pytorch_model.bin; other forms are not read: save the model with');
  });

  it('are refused with an index that is none', () => {
    const folder = copyOf(NAME);
    rmSync(join(folder, 'model.safetensors'));
    writeFileSync(join(folder, 'model.safetensors.index.json'), '{"weight_map": {"a": 1}}');
    expect(refusal(folder)).toContain('the key weight_map.a = 1 is not valid');
  });
});
