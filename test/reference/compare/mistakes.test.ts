import { describe, expect, it } from 'vitest';
import type { AttentionConfig } from '../../../attention/strategy/strategy.js';
import type { ModelConfig } from '../../../src/model/config.js';
import { assemble, type Model } from '../../../src/model/load.js';
import { STAGES } from '../../../src/reference/compare/bisect.js';
import { compare } from '../../../src/reference/compare/index.js';
import { OUTSIDE_LAYERS, TRACE_AXES } from '../../../src/reference/trace/format.js';
import { trace } from '../../../src/reference/trace/index.js';
import { changed, IDS, load, tensorOf } from '../../support/comparing.js';

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

it('every point of a layer has its stage', () => {
  const inLayers = Object.keys(TRACE_AXES).filter((kind) => !OUTSIDE_LAYERS.has(kind));
  expect(STAGES.flat().sort()).toEqual(inLayers.sort());
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

  it('is found in bfloat16 too, against a reference that emulates it or one that does not', async () => {
    const narrow = load('austen-llama', { precision: 'bfloat16' });
    const theirs = await trace(
      withAttention(narrow, ({ scale }) => ({ scale: 1.1 * scale })),
      IDS,
      { capture: 'all' },
    );
    for (const model of [narrow, load('austen-llama')]) {
      const found = await compare(theirs, model, { bisect: true });
      expect(found).toMatchObject({
        verdict: 'different',
        dtype: 'bfloat16',
        first: { tensor: 'layers.0.attention.scores' },
      });
      expect(new Set(found.bisection!.roots.map(({ tensor }) => tensor.slice(9)))).toEqual(
        new Set(['attention.scores']),
      );
    }
    const nothing = changed(await trace(narrow, IDS, { capture: 'logits' }), ({ name, read }) =>
      name === 'logits' ? { values: read().map(() => 0) } : undefined,
    );
    expect((await compare(nothing, narrow, { dtype: 'bfloat16' })).verdict).toBe('different');
    const wide = await trace(load('austen-llama'), IDS, { capture: 'layers' });
    await expect(compare(wide, narrow)).rejects.toThrow(/computed in float32.*leave out --emulate/);
  });

  it('is said with what lies before it and was not dumped', async () => {
    const model = load('tiny-llama-rope3-f16');
    const wrong = await trace(
      withAttention(model, () => ({ scale: 1 / 16 })),
      IDS,
      { capture: 'layers' },
    );
    const [root] = (await compare(wrong, model, { bisect: true })).bisection!.roots;
    expect(root).toMatchObject({
      tensor: 'layers.0.attention.heads',
      unseen: ['layers.0.attention.scores', 'layers.0.attention.probabilities'],
    });
    const logits = changed(wrong, ({ name }) => (/^(input_ids|logits)$/.test(name) ? undefined : null));
    const [alone] = (await compare(logits, model, { bisect: true })).bisection!.roots;
    expect(alone!.unseen).toHaveLength(32);
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
    expect(after.tensors[0]!.name).toBe('layers.1.attention.input'); // what follows
    expect(after).toMatchObject({ verdict: 'identical', conclusion: expect.stringContaining('there or before it') });
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
