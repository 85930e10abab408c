/** Checkpoints whose files do not belong together, or to no model: 37 to 46. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { familyOf } from '../../src/model/families/index.js';
import { loadModel } from '../../src/model/load.js';
import {
  AUSTEN,
  bad,
  configured,
  damaged,
  expectRefused,
  expectUnreadable,
  newFolder,
  TINY,
} from '../support/bad-input.js';
import { copyOf, editJson, shard, tensorsOf, writeTensors } from '../support/checkpoint.js';
import { touchstoneAside } from '../support/cli.js';
import { CHECKPOINTS, FAMILY_CHECKPOINTS, fixture } from '../support/fixtures.js';

type Json = Record<string, unknown>;

const INDEX = 'model.safetensors.index.json';
const SHARDS = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
const ALL = [...CHECKPOINTS, ...FAMILY_CHECKPOINTS];

const sharded = (changeMap?: (map: Record<string, string>) => Record<string, string>) =>
  damaged(TINY, (folder) => shard(folder, changeMap));
const configOf = (name: string) => JSON.parse(readFileSync(fixture(`${name}/config.json`), 'utf8')) as Json;

/** What is said of a config.json, by itself. */
function complaint(raw: Json): string | null {
  try {
    familyOf(raw, 'config.json').configure(raw, { file: 'config.json', ropeLength: null });
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(CheckpointError);
    return (error as Error).message;
  }
}

bad(37, "a shard's path that leads out of the folder; the links of the hub's cache are fine", async () => {
  const outside = [
    '../x.safetensors',
    '/x.safetensors',
    'https://x/y.safetensors',
    'a\\x.safetensors',
    'a/x.safetensors',
  ];
  for (const path of outside) {
    const folder = sharded((map) => ({ ...map, 'lm_head.weight': path }));
    await expectUnreadable(folder, join(folder, INDEX), `the shard ${JSON.stringify(path)} is not a plain file name`);
  }
  // models--owner--name/snapshots/COMMIT/FILE -> ../../blobs/HASH
  const [repository, commit] = [newFolder(), 'c0ffee'];
  const [blobs, snapshot] = [join(repository, 'blobs'), join(repository, 'snapshots', commit)];
  for (const folder of [blobs, snapshot]) mkdirSync(folder, { recursive: true });
  for (const [i, name] of ['config.json', INDEX, ...SHARDS].entries()) {
    copyFileSync(join(sharded(), name), join(blobs, `hash${i}`));
    symlinkSync(join('..', '..', 'blobs', `hash${i}`), join(snapshot, name));
  }
  const args = (model: string) => ['generate', '--model', model, '--ids', '1,2,3', '-n', '8'];
  const whole = await touchstoneAside(args(fixture(TINY)));
  expect(await touchstoneAside(args(snapshot))).toEqual({ out: whole.out, err: '', code: 0 });
});

bad(38, 'a mapped shard, or a mapped tensor, that is missing', async () => {
  const tensor = sharded((map) => ({ ...map, extra: SHARDS[0] }));
  await expectUnreadable(tensor, join(tensor, INDEX), `tensor extra is mapped to ${SHARDS[0]}, which does not hold it`);
  const file = sharded();
  rmSync(join(file, SHARDS[1]));
  await expectUnreadable(file, join(file, INDEX), `the shard ${SHARDS[1]}, which`, 'is missing; download it.');
});

bad(39, 'a tensor in two shards', async () => {
  const folder = damaged(TINY, (copy) => {
    copyFileSync(join(copy, 'model.safetensors'), join(copy, 'twice.safetensors'));
    shard(copy, (map) => ({ ...map, 'lm_head.weight': 'twice.safetensors' }));
  });
  await expectUnreadable(folder, /: tensor \S+ stands in \S+\.safetensors too\.$/, SHARDS[0], 'twice.safetensors');
});

bad(40, 'a Git LFS pointer in the place of a file', async () => {
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 12\n`;
  const places: [string, string][] = [
    [TINY, 'model.safetensors'],
    [TINY, 'config.json'],
    [AUSTEN, 'tokenizer.json'],
    [AUSTEN, 'tokenizer_config.json'],
  ];
  for (const [name, file] of places) {
    const folder = damaged(name, (copy) => writeFileSync(join(copy, file), pointer));
    await expectUnreadable(folder, `${join(folder, file)}: this is a Git LFS pointer`, 'git lfs pull');
  }
  for (const file of [INDEX, SHARDS[1]]) {
    const folder = sharded();
    writeFileSync(join(folder, file), pointer);
    await expectUnreadable(folder, `${join(folder, file)}: this is a Git LFS pointer`, 'git lfs pull');
  }
  const folder = damaged(AUSTEN, (copy) => writeFileSync(join(copy, 'generation_config.json'), pointer));
  const says = [`${join(folder, 'generation_config.json')}: this is a Git LFS pointer`];
  await expectRefused(['generate', 'x', '--model', folder], { code: 1, says, folder });
});

bad(41, 'an unknown model_type', async () => {
  const folder = configured(TINY, { model_type: 'mamba' });
  const supported = [...new Set(ALL.map((name) => configOf(name).model_type as string))];
  expect(supported.length).toBeGreaterThan(40);
  const listed = supported.map((type) => new RegExp(`supported are: .*\\b${type}[,.]`));
  await expectUnreadable(folder, join(folder, 'config.json'), 'model_type = "mamba" is not supported', ...listed);
});

bad(42, 'heads that the key/value heads do not divide', async () => {
  const folder = configured(TINY, { num_key_value_heads: 3 });
  const says = 'num_attention_heads = 4 is not a multiple of num_key_value_heads = 3';
  await expectUnreadable(folder, join(folder, 'config.json'), says);
  for (const name of ALL) {
    const raw = configOf(name);
    const key = 'num_kv_heads' in raw ? 'num_kv_heads' : 'num_key_value_heads';
    // In a Falcon of the first form and in GPT-BigCode, multi_query alone says how many there are.
    const said = (raw.multi_query && !raw.new_decoder_architecture) || raw.model_type === 'gpt_bigcode';
    if (typeof raw[key] !== 'number' || said) continue;
    const heads = raw.num_attention_heads as number;
    expect(complaint({ ...raw, [key]: heads - 1 }), name).toMatch(
      new RegExp(`^config\\.json: .*\\b${key} = ${heads - 1}`),
    );
  }
});

bad(43, 'a tensor whose shape contradicts the config', async () => {
  const folder = damaged(TINY, (copy) => {
    const turned = tensorsOf(copy).map((tensor) =>
      tensor.name === 'lm_head.weight' ? { ...tensor, shape: [64, 256] } : tensor,
    );
    writeTensors(copy, turned);
  });
  const says = 'tensor lm_head.weight has shape [64, 256], and config.json makes it [256, 64]';
  await expectUnreadable(folder, join(folder, 'model.safetensors'), says);
});

/** A config with this rope in the one place or the other; families whose layers differ have one for each kind of layer. */
function withRope({ rope_parameters: given, rope_scaling: _, ...rest }: Json, place: string, rope: Json): Json {
  const kinds = Object.entries((given ?? {}) as Json).filter(([, of]) => of?.constructor === Object);
  if (kinds.length === 0 || place === 'rope_scaling') return { ...rest, [place]: rope };
  return { ...rest, [place]: { ...Object.fromEntries(kinds), [kinds[0]![0]]: rope } };
}

bad(44, 'yarn without its factor, or an unknown type of rope', async () => {
  const ropes = [
    [{ rope_type: 'yarn', rope_theta: 1e4 }, 'factor is missing'],
    [{ rope_type: 'spiral' }, 'rope_type must be default, linear, dynamic, llama3, yarn or longrope'],
    [{ type: 'spiral', factor: 2 }, 'rope_type must be'],
  ] as const;
  for (const [rope, says] of ropes) {
    const folder = configured(TINY, { rope_parameters: rope });
    await expectUnreadable(folder, join(folder, 'config.json'), 'the key rope_parameters.', says);
  }
  // In every family, and both spellings: where there is no rope that could be scaled, the key itself is refused.
  for (const name of ALL) {
    for (const [rope, says] of ropes) {
      for (const place of ['rope_parameters', 'rope_scaling']) {
        const said = complaint(withRope(configOf(name), place, rope));
        expect(said, `${name}: ${place}`).toMatch(new RegExp(`^config\\.json: the key ${place}`));
        expect(said!.includes(says) || said!.includes('is not understood'), said!).toBe(true);
      }
    }
  }
});

bad(45, 'a head that is not tied, and not there', async () => {
  const without = (folder: string, head: string) =>
    writeTensors(
      folder,
      tensorsOf(folder).filter(({ name }) => name !== head),
    );
  const folder = damaged(TINY, (copy) => without(copy, 'lm_head.weight'));
  await expectUnreadable(folder, folder, 'tensor lm_head.weight is missing');
  for (const name of ALL.filter((checkpoint) => !loadModel(fixture(checkpoint)).config.head.tied)) {
    const copy = copyOf(name, newFolder());
    const head = tensorsOf(copy).find(({ name }) => /^(lm_head|embed_out)\.weight$/.test(name))!.name;
    without(copy, head);
    expect(() => loadModel(copy), name).toThrow(`tensor ${head} is missing`);
  }
});

bad(46, 'a vocab_size below the largest token id', async () => {
  const more = damaged(AUSTEN, (copy) =>
    editJson(join(copy, 'tokenizer.json'), (value) => ({
      ...value,
      added_tokens: [...(value.added_tokens as object[]), { id: 1024, content: '<extra>' }],
    })),
  );
  const fewer = damaged(AUSTEN, (copy) => {
    editJson(join(copy, 'config.json'), (config) => ({ ...config, vocab_size: 1000 }));
    const cut = tensorsOf(copy).map((tensor) =>
      tensor.shape[0] === 1024 ? { ...tensor, shape: [1000, 192], data: tensor.data.slice(0, 1000 * 192) } : tensor,
    );
    writeTensors(copy, cut as typeof cut);
  });
  for (const [folder, largest, rows] of [
    [more, 1024, 1024],
    [fewer, 1023, 1000],
  ] as const) {
    const says = [
      join(folder, 'tokenizer.json'),
      `the largest token id is ${largest}, and config.json has vocab_size = ${rows}`,
    ];
    await expectUnreadable(folder, ...says);
    await expectRefused(['generate', 'x', '--model', folder], { code: 1, says, folder });
  }
});
