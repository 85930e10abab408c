import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AttentionConfig } from '../../../attention/strategy/strategy.js';
import { argmax } from '../../../src/generate/sampler.js';
import type { ModelConfig } from '../../../src/model/config.js';
import { assemble, loadModel, type Model } from '../../../src/model/load.js';
import type { Comparison } from '../../../src/reference/compare/comparison.js';
import { VERDICTS, worstOf } from '../../../src/reference/compare/comparison.js';
import { compare } from '../../../src/reference/compare/index.js';
import type { Dump } from '../../../src/reference/dump/dump.js';
import { dumpOf } from '../../../src/reference/dump/in-memory.js';
import { readNameMap } from '../../../src/reference/dump/name-map.js';
import { trace, writeTrace } from '../../../src/reference/trace/index.js';
import { changed, openFixtureDump, planted } from '../../support/comparing.js';
import { fixture, temporaryFolder } from '../../support/fixtures.js';

const IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4];
const load = (name: string, options = {}) => loadModel(fixture(name), options);
const tensorOf = ({ tensors }: Comparison, name: string) => tensors.find((tensor) => tensor.name === name)!;

/** The same model with other numbers in the attention of each layer: what a port got wrong. */
function withAttention(
  { config, weights, options, files }: Model,
  change: (attention: AttentionConfig) => object,
): Model {
  const layers = config.layers.map((layer) => ({
    ...layer,
    attention: { ...layer.attention, ...change(layer.attention) },
  }));
  return assemble({ ...config, layers } as ModelConfig, weights, options, files);
}

function withConfig({ config, weights, options, files }: Model, change: Partial<ModelConfig>): Model {
  return assemble({ ...config, ...change }, weights, options, files);
}

describe('a trace of our own', () => {
  it('is identical, in every tensor', async () => {
    const model = load('tiny-deepseek-v3-bf16');
    const found = await compare(await trace(model, IDS, { capture: 'all', steps: 3 }), model, { bisect: true });
    expect(found.verdict).toBe('identical');
    expect(found.tensors.every(({ verdict }) => verdict === 'identical')).toBe(true);
    expect(found.tensors.length).toBe(58);
    expect(found).toMatchObject({ first: null, unknown: [], missing: [], bisection: { roots: [] } });
    expect(found.tokens).toMatchObject({ compared: 3, equal: 3, verdict: 'identical' });
  });

  it.each(['bfloat16', 'float16'] as const)(
    'in %s is within the noise of that, and identical to the emulation',
    async (dtype) => {
      const model = load('austen-mistral');
      const narrow = load('austen-mistral', { precision: dtype });
      const theirs = await trace(narrow, IDS, { capture: 'all', steps: 4 });
      const found = await compare(theirs, model, { bisect: true });
      expect(found).toMatchObject({ dtype, precision: 'float32', verdict: 'within noise', bisection: { roots: [] } });
      expect(tensorOf(found, 'logits').measures!.maxAbs).toBeGreaterThan(1e-3);
      expect(await compare(theirs, narrow)).toMatchObject({ dtype, precision: dtype, verdict: 'identical' });
      // Taken for float32, it is no noise.
      expect((await compare(theirs, model, { dtype: 'float32' })).verdict).toBe('different');
    },
  );

  it('in float64 has the noise of float64', async () => {
    const exact = load('tiny-llama-rope3-f16', { precision: 'float64' });
    const theirs = await trace(exact, IDS, { capture: 'all' });
    const model = load('tiny-llama-rope3-f16');
    expect(await compare(theirs, model)).toMatchObject({
      dtype: 'float64',
      precision: 'float64',
      verdict: 'identical',
    });
    const wrong = planted(theirs, 'layers.1.attention.output', 70, (x) => x * (1 + 1e-9));
    const found = await compare(wrong, exact);
    expect(found).toMatchObject({
      verdict: 'different',
      first: { tensor: 'layers.1.attention.output', position: 1, index: [6] },
    });
    expect((await compare(wrong, model, { dtype: 'float32' })).verdict).toBe('within noise');
  });
});

describe('a port with a mistake', () => {
  const MISTAKES: readonly (readonly [string, string, (model: Model) => Model, first: string, roots: readonly string[]])[] = [
    [
      'scales scores by another number', 'tiny-llama-rope3-f16',
      (model) => withAttention(model, () => ({ scale: 1 / 16 })),
      'layers.0.attention.scores', ['attention.scores'],
    ],
    [
      'turns neighbours', 'tiny-llama-rope3-f16',
      (model) => withAttention(model, ({ rope }) => ({ rope: { ...rope, pairs: 'interleaved' } })),
      'layers.0.attention.q_rope', ['attention.q_rope', 'attention.k_rope'],
    ],
    [
      'has another eps in the last norm', 'tiny-llama-rope3-f16',
      (model) => withConfig(model, { finalNorm: { ...model.config.finalNorm!, eps: 1e-2 } }),
      'final_norm', ['final_norm'],
    ],
    [
      'forgets the cap of scores', 'families/gemma2',
      (model) => withAttention(model, () => ({ softcap: null })),
      'layers.0.attention.scores', ['attention.scores'],
    ],
    [
      'forgets the cap of logits', 'families/gemma2',
      (model) => withConfig(model, { head: { ...model.config.head, softcap: null } }),
      'logits', ['logits'],
    ],
    [
      'forgets to scale embeddings', 'families/gemma2',
      (model) => withConfig(model, { embedding: { ...model.config.embedding, scale: 1 } }),
      'embeddings', ['embeddings'],
    ],
    [
      'sees one token too many', 'tiny-mistral-f16',
      (model) => load('tiny-mistral-f16', { visibility: { kind: 'sliding', window: 17 }, precision: model.options.precision }),
      'layers.0.attention.scores', ['attention.scores'],
    ],
  ]; // biome-ignore format: a table

  it.each(MISTAKES)('that %s (%s) is found there, and nowhere else', async (_, name, wrong, first, roots) => {
    const model = load(name);
    const found = await compare(await trace(wrong(model), IDS, { capture: 'all' }), model, { bisect: true });
    expect(found.verdict).toBe('different');
    expect(found.first!.tensor).toBe(first);
    const kinds = new Set(found.bisection!.roots.map(({ tensor }) => tensor.replace(/^layers\.\d+\./, '')));
    expect([...kinds]).toEqual(roots);
    const layers = roots[0]!.startsWith('attention') ? model.config.layers.length : 1;
    expect(found.bisection!.roots.length).toBe(roots.length * layers);
  });

  it('goes on as ours does from a point after it, and not from one before', async () => {
    const model = load('tiny-llama-rope3-f16');
    const head = { ...model.config.head, scale: 1.5 };
    const wrongAttention = withAttention(model, (attention) => ({ ...attention }));
    const layers = model.config.layers.map((layer, i) =>
      i === 0 ? { ...layer, attention: { ...layer.attention, scale: 1 / 16 } } : layer,
    );
    const wrong = assemble(
      { ...wrongAttention.config, layers } as ModelConfig,
      model.weights,
      model.options,
      model.files,
    );
    const theirs = await trace(wrong, IDS, { capture: 'layers' });
    const after = await compare(theirs, model, { spliceAt: ['layers.0.output'] });
    expect(tensorOf(after, 'layers.0.output').verdict).toBe('different'); // as it was before the splice
    expect(tensorOf(after, 'logits').verdict).toBe('identical');
    const before = await compare(theirs, model, { spliceAt: ['embeddings'] });
    expect(tensorOf(before, 'logits').verdict).toBe('different');
    const two = await trace(withConfig(wrong, { head }), IDS, { capture: 'layers' });
    expect(tensorOf(await compare(two, model, { spliceAt: ['layers.0.output'] }), 'logits').verdict).toBe('different');
    await expect(compare(theirs, model, { spliceAt: ['layers.9.output'] })).rejects.toThrow(
      /no tensor for layers\.9\.output/,
    );
  });
});

describe('layouts', () => {
  const model = load('tiny-llama-rope3-f16');
  /** Values [T, heads, dim] with axes and values moved. */
  const moved = (
    dump: Dump,
    name: string,
    shape: (own: readonly number[]) => number[],
    place: (t: number, h: number, k: number, own: readonly number[]) => number,
  ) =>
    changed(dump, (tensor) => {
      if (tensor.name !== name) return undefined;
      const [tokens, heads, dim] = tensor.shape as [number, number, number];
      const [values, from] = [tensor.read().slice(), tensor.read()];
      for (let t = 0; t < tokens; t++)
        for (let h = 0; h < heads; h++)
          for (let k = 0; k < dim; k++) values[place(t, h, k, tensor.shape)] = from[(t * heads + h) * dim + k]!;
      return { shape: shape(tensor.shape), values };
    });

  it('are recognised and said', async () => {
    let theirs = await trace(model, IDS, { capture: 'layers' });
    theirs = moved(
      theirs,
      'layers.0.attention.q',
      ([t, h, k]) => [1, h!, t!, k!],
      (t, h, k, [T, , K]) => (h * T! + t) * K! + k,
    );
    theirs = moved(
      theirs,
      'layers.0.attention.k',
      ([t, h, k]) => [t!, h! * k!],
      (t, h, k, [, H, K]) => (t * H! + h) * K! + k,
    );
    theirs = moved(
      theirs,
      'layers.0.attention.v',
      ([t, h, k]) => [k!, h!, t!, 1],
      (t, h, k, [, H, K]) => (t * H! + h) * K! + k,
    );
    const interleaved = (k: number, K: number) => (k < K / 2 ? 2 * k : 2 * (k - K / 2) + 1);
    for (const name of ['layers.1.attention.q_rope', 'layers.1.attention.k_rope'])
      theirs = moved(
        theirs,
        name,
        (own) => [...own],
        (t, h, k, [, H, K]) => (t * H! + h) * K! + interleaved(k, K!),
      );
    const found = await compare(theirs, model, { bisect: true });
    expect(found.verdict).toBe('identical');
    const layout = (name: string) => tensorOf(found, name).layout;
    expect(layout('layers.0.attention.q')).toContain('heads first');
    expect(layout('layers.0.attention.k')).toContain('flattened heads');
    expect(layout('layers.0.attention.v')).toContain('backwards');
    expect(layout('layers.1.attention.q_rope')).toContain('rope-interleaved');
    expect(layout('layers.1.attention.q')).toBeNull();
  });

  it('that hold nothing of ours are a difference, with both shapes', async () => {
    const theirs = changed(await trace(model, IDS, { capture: 'layers' }), ({ name }) =>
      name === 'layers.0.output' ? { shape: [20, 63], values: new Float32Array(20 * 63) } : undefined,
    );
    const found = await compare(theirs, model);
    expect(tensorOf(found, 'layers.0.output')).toMatchObject({ verdict: 'different', measures: null, worst: null });
    expect(tensorOf(found, 'layers.0.output').problem).toMatch(/\[20, 63\].*\[20, 64\]/);
  });

  it('of rows: logits of the last token, a shorter run, and chosen positions', async () => {
    const theirs = await trace(model, IDS, { capture: 'all' });
    const logits = theirs.tensors.get('logits')!.read();
    const last = changed(theirs, ({ name }) =>
      name === 'logits' ? { shape: [1, 256], values: logits.slice(-256) } : name === 'input_ids' ? undefined : null,
    );
    expect(await compare(last, model)).toMatchObject({ verdict: 'identical' });
    const some = await trace(model, IDS, { capture: 'all', positions: [2, 7, 8] });
    const found = await compare(some, model);
    expect(found.verdict).toBe('identical');
    expect(tensorOf(found, 'layers.1.attention.scores').rows.map(({ position }) => position)).toEqual([2, 7, 8]);
  });
});

describe('what a dump may lack or have too much of', () => {
  const model = load('tiny-llama-rope3-f16');

  it('NaN is different, where it is', async () => {
    const theirs = planted(await trace(model, IDS), 'layers.1.attention.v', 5 * 32 + 17, () => Number.NaN);
    const found = await compare(theirs, model);
    expect(found.first).toMatchObject({ tensor: 'layers.1.attention.v', position: 5, head: 1, index: [1, 1] });
    expect(found.tensors.filter(({ verdict }) => verdict === 'different')).toHaveLength(1);
  });

  it('logits alone, with tokens given', async () => {
    const logits = (await trace(model, IDS, { capture: 'logits' })).tensors.get('logits')!;
    const theirs = dumpOf({ logits: { shape: logits.shape, data: logits.read() } });
    await expect(compare(theirs, model)).rejects.toThrow(/no tensor input_ids.*--ids/);
    expect(await compare(theirs, model, { ids: IDS })).toMatchObject({ verdict: 'identical' });
    const other = dumpOf({
      input_ids: { shape: [2], data: [1, 2] },
      logits: { shape: logits.shape, data: logits.read() },
    });
    await expect(compare(other, model, { ids: IDS })).rejects.toThrow(/not the tokens that were given/);
  });

  it('names by a table of the user', async () => {
    const named = changed(await trace(model, IDS), ({ name }) =>
      name.endsWith('attention.q')
        ? { name: name.replace('layers.', 'block').replace('.attention.q', '/Q') }
        : undefined,
    );
    expect((await compare(named, model)).unknown).toEqual(['block0/Q', 'block1/Q']);
    const file = join(temporaryFolder(), 'map.json');
    writeFileSync(file, '{"block{i}/Q": "layers.{i}.attention.q"}');
    const found = await compare(named, model, { map: readNameMap(file) });
    expect(found.unknown).toEqual([]);
    expect(tensorOf(found, 'layers.1.attention.q').theirName).toBe('block1/Q');
  });

  it('experts in another order are the same choice; another expert is not, unless the router was near a tie', async () => {
    const experts = load('tiny-deepseek-v3-bf16');
    const theirs = await trace(experts, IDS);
    const reversed = changed(theirs, ({ name, shape, read }) => {
      if (!/router\.(experts|weights)$/.test(name)) return undefined;
      const values = read().slice();
      for (let r = 0; r < values.length; r += shape[1]!) values.subarray(r, r + shape[1]!).reverse();
      return { values };
    });
    expect(await compare(reversed, experts)).toMatchObject({ verdict: 'identical' });
    const point = 'layers.1.router.experts';
    const chosen = theirs.tensors.get(point)!.read();
    const unused = [...Array(8).keys()].filter((e) => !chosen.subarray(0, 3).includes(e));
    const other = await compare(
      planted(theirs, point, 0, () => unused.at(-1)!),
      experts,
    );
    expect(tensorOf(other, point).verdict).toBe('different');
    expect(
      tensorOf(other, point)
        .rows.filter(({ verdict }) => verdict === 'different')
        .map(({ position }) => position),
    ).toEqual([0]);
  });
});

describe('streams of tokens', () => {
  const model = load('austen-llama');

  it('differ at the first token that ours would not have chosen', async () => {
    const theirs = await trace(model, IDS, { capture: 'logits', steps: 8 });
    const ids = [...theirs.tensors.get('generated_ids')!.read()];
    const wrong = changed(theirs, ({ name }) =>
      name === 'generated_ids'
        ? { values: Float64Array.from(ids.map((id, i) => (i === 5 ? (id + 1) % 1024 : id))) }
        : name === 'logits'
          ? null
          : undefined,
    );
    const found = await compare(wrong, model);
    expect(found.verdict).toBe('different');
    expect(found.tokens).toMatchObject({
      compared: 8,
      first: { step: 5, position: IDS.length + 5, theirs: (ids[5]! + 1) % 1024, ours: ids[5], ambiguous: false },
    });
  });

  it('that differ at a near tie are ambiguous, and no difference', async () => {
    // The head's row of the second likeliest token, in place of that of the likeliest, but for a rounding.
    const plain = await trace(model, IDS, { capture: 'all' });
    const logits = plain.tensors.get('logits')!.read();
    const row = logits.subarray((IDS.length - 1) * 1024);
    const best = argmax(row);
    const second = argmax(row.map((x, i) => (i === best ? Number.NEGATIVE_INFINITY : x)));
    const theirs = dumpOf({
      input_ids: { shape: [IDS.length], data: IDS },
      generated_ids: { shape: [1], data: [second] },
    });
    expect((await compare(theirs, model)).tokens).toMatchObject({ equal: 0, verdict: 'different', ambiguous: 0 });
    const { config, weights, options, files } = model;
    const output = weights.head.output;
    const bits = output.weight.bits.slice();
    const [from, to] = [best, second].map((id) => id * output.weight.columns) as [number, number];
    bits.copyWithin(to, from, from + output.weight.columns);
    const head = { ...weights.head, output: { ...output, weight: { ...output.weight, bits } } };
    const tied = assemble(config, { ...weights, head }, options, files);
    const exact = load('austen-llama', { precision: 'float64' });
    const tiedExact = assemble(config, { ...exact.weights, head }, exact.options, files);
    const later = Math.max(best, second);
    const theirsTied = dumpOf({
      input_ids: { shape: [IDS.length], data: IDS },
      generated_ids: { shape: [1], data: [later] },
    });
    const found = await compare(theirsTied, tied, { noiseOf: tiedExact });
    expect(found.tokens).toMatchObject({
      equal: 0,
      verdict: 'within noise',
      ambiguous: 1,
      first: { ambiguous: true, margin: 0 },
    });
    expect(found.verdict).toBe('within noise');
  });
});

describe('a golden in place of a model', () => {
  const model = load('tiny-llama-rope3-f16');
  const exact = load('tiny-llama-rope3-f16', { precision: 'float64' });

  it('does as well, from a file, with the noise that it tells', async () => {
    const golden = join(temporaryFolder(), 'golden.safetensors');
    const dump = openFixtureDump('tiny-llama-rope3-f16');
    const ids = [...dump.tensors.get('input_ids')!.read()];
    await writeTrace(golden, model, ids, { capture: 'all', steps: 3, noiseOf: exact });
    const [byFile, byModel] = [await compare(dump, golden), await compare(dump, model)];
    expect(byFile.verdict).toBe('within noise');
    // A config settles what some names mean, and a golden has none.
    expect(byFile.tensors.length).toBeGreaterThan(byModel.tensors.length - 3);
    for (const { name, verdict, layout } of byFile.tensors)
      expect(tensorOf(byModel, name)).toMatchObject({ verdict, layout });
    expect(byFile.tokens).toMatchObject({ compared: 3, equal: 3 });
    const wrong = planted(dump, 'model.layers.1.mlp', 100, (x) => x + 0.01);
    expect(await compare(wrong, golden)).toMatchObject({
      verdict: 'different',
      first: { tensor: 'layers.1.feed_forward.output' },
    });
  });

  it('may be one of the fixtures, which have the truth beside the logits', async () => {
    const golden = fixture('tiny-llama-rope3-f16/golden.safetensors');
    const found = await compare(openFixtureDump('tiny-llama-rope3-f16'), golden);
    // The dump's prompt is a beginning of the golden's; what it generated after that are other tokens.
    expect(tensorOf(found, 'logits').rows.map(({ position }) => position)).toEqual([0, 1, 2, 3, 4]);
    expect(found).toMatchObject({ verdict: 'within noise', tokens: { compared: 1, equal: 1 } });
    expect(found.notes).toContain('From position 5 on the tokens of the two are not the same, and rows are left out.');
  });

  it('is refused where it does not tell its noise, or that of another dtype, or was made of other tokens', async () => {
    const folder = temporaryFolder();
    const [silent, noisy] = [join(folder, 'silent.safetensors'), join(folder, 'noisy.safetensors')];
    await writeTrace(silent, model, IDS);
    await writeTrace(noisy, model, IDS, { noiseOf: exact });
    const theirs = await trace(model, IDS);
    await expect(compare(theirs, silent)).rejects.toThrow(/does not tell its noise floor.*--noise/);
    await expect(compare(theirs, fixture('austen-llama/model.safetensors'))).rejects.toThrow(/it is no trace/);
    await expect(compare(theirs, noisy, { bisect: true })).rejects.toThrow(/compare with a model/);
    const narrow = await trace(load('tiny-llama-rope3-f16', { precision: 'bfloat16' }), IDS);
    await expect(compare(narrow, noisy)).rejects.toThrow(
      /computed in bfloat16.*the noise of float32.*--emulate bfloat16/,
    );
    await expect(compare(await trace(model, [3, 1, 5]), noisy)).rejects.toThrow(/token 2 of its input_ids is 5.* 4/);
  });
});

it('verdicts are ordered from best to worst', () => {
  expect(worstOf([])).toBe('identical');
  for (const [i, verdict] of VERDICTS.entries()) expect(worstOf(VERDICTS.slice(0, i + 1))).toBe(verdict);
});
