/** What no mistake made is not called one: noise of rounding, other tokens, other checkpoints, noise, and mistakes that nobody knows. */
import { describe, expect, it } from 'vitest';
import { assemble, type Model } from '../../../src/model/load.js';
import { diagnose } from '../../../src/reference/diagnose/index.js';
import { conclusionText } from '../../../src/reference/diagnose/words.js';
import type { Dump } from '../../../src/reference/dump/dump.js';
import { matrices, matrixOf, valuesOf } from '../../../src/reference/mutants/change.js';
import type { Mutation } from '../../../src/reference/mutants/mutant.js';
import { runMutated } from '../../../src/reference/mutants/run.js';
import { trace } from '../../../src/reference/trace/index.js';
import { roundToBfloat16 } from '../../../src/tensor/dtype.js';
import { flat, tensor } from '../../../src/tensor/tensor.js';
import { changed, DUMPS, load, openFixtureDump } from '../../support/comparing.js';
import { diagnosed, dumpOfMistake, formText, LOGITS, shortSetting, WHOLE } from '../../support/diagnosing.js';
import { dumpedAs, FORMS, type MutantSetting } from '../../support/mutant-cases.js';

const isTokens = (name: string) => /ids$|positions$/.test(name);

const rounded = (dump: Dump) =>
  changed(dump, ({ name, read }) => (isTokens(name) ? undefined : { values: read().map(roundToBfloat16) }));

const logitsAlone = (dump: Dump) =>
  changed(dump, ({ name }) => (isTokens(name) || name === 'logits' ? undefined : null));

describe('nothing is wrong', () => {
  it.each(DUMPS)(
    'with the dump of %s, as it is, rounded to bfloat16, and with its logits alone',
    async (name, checkpoint) => {
      const [dump, model] = [openFixtureDump(name), load(checkpoint)];
      const noiseOf = load(checkpoint, { precision: 'float64' });
      for (const own of [dump, rounded(dump), logitsAlone(dump), logitsAlone(rounded(dump))]) {
        const found = await diagnose(own, model, { noiseOf });
        expect(found.conclusion.kind).toBe('within noise');
        expect(conclusionText(found)).toMatch(/^within noise: /);
      }
      dump.close();
    },
  );

  it('with our own numbers: of this precision, and of bfloat16 as PyTorch computes in it', async () => {
    for (const checkpoint of ['families/qwen3', 'families/gemma2']) {
      const { ids } = await shortSetting(checkpoint);
      const own = await trace(load(checkpoint), ids.slice(0, 16), { steps: 8, capture: 'all' });
      const same = await diagnose(own, load(checkpoint));
      expect(same).toMatchObject({ conclusion: { kind: 'within noise' }, verdict: 'identical', first: null, off: 0 });
      expect(conclusionText(same)).toBe('identical: theirs are our numbers, bit for bit.');
      const narrow = load(checkpoint, { precision: 'bfloat16' });
      const theirs = await trace(narrow, ids.slice(0, 16), { steps: 8, capture: 'all' });
      for (const dump of [theirs, logitsAlone(theirs)]) {
        expect((await diagnose(dump, load(checkpoint))).conclusion.kind, checkpoint).toBe('within noise');
      }
    }
  });
});

describe('other tokens', async () => {
  const setting = await shortSetting('families/gemma2');
  const told = async (ids: readonly number[], form = WHOLE) => {
    const { wide, shapes } = setting;
    const computed = await runMutated(wide, {}, { ids, passes: [ids.length], keeps: (point) => shapes.has(point) });
    return (await diagnosed(dumpedAs(setting, computed, form), setting)).conclusion;
  };

  it.each(FORMS.map((form) => [formText(form), form] as const))(
    'are told, and where they begin (%s)',
    async (_, form) => {
      const one = setting.ids.with(9, 50);
      expect(await told(one, form)).toEqual({ kind: 'other tokens', position: 9, given: setting.ids[9], theirs: 50 });
      const all = setting.ids.map((id) => (id + 13) % 96);
      expect(await told(all, form)).toEqual({
        kind: 'other tokens',
        position: 0,
        given: setting.ids[0],
        theirs: all[0],
      });
    },
  );
});

describe('another checkpoint, or none', async () => {
  const setting = await shortSetting('families/gemma2');
  const dumpOf = (wide: Model, form: typeof WHOLE) => dumpOfMistake({ ...setting, wide }, {}, form);

  it.each(FORMS.map((form) => [formText(form), form] as const))('of shuffled weights (%s)', async (_, form) => {
    const { conclusion } = await diagnosed(await dumpOf(withShuffledWeights(setting), form), setting);
    // Weights that are drawn make logits that look drawn, which is all that logits alone tell.
    expect(['other checkpoint', ...(form.logitsAlone ? ['noise'] : [])]).toContain(conclusion.kind);
  });

  it('of another shape', async () => {
    const other = await shortSetting('families/qwen3');
    const found = await diagnosed(await dumpOfMistake(other, {}, WHOLE), { ...setting, ids: other.ids });
    expect(found.conclusion.kind).toBe('other checkpoint');
    const wider = await shortSetting('tiny-mistral-f16');
    const { conclusion } = await diagnosed(await dumpOfMistake(wider, {}, LOGITS), setting);
    expect(conclusion).toMatchObject({ kind: 'other shapes', why: expect.stringMatching(/256/) });
  });

  it.each(FORMS.map((form) => [formText(form), form] as const))('but noise (%s)', async (_, form) => {
    const draw = drawn(7);
    const round = form.dtype === 'bfloat16' ? roundToBfloat16 : Math.fround;
    const dump = changed(await dumpOfMistake(setting, {}, form), ({ name, shape }) => {
      if (isTokens(name)) return undefined;
      return {
        values: Float32Array.from({ length: shape.reduce((product, own) => product * own, 1) }, () => round(draw())),
      };
    });
    const found = await diagnosed(dump, setting);
    expect(found.conclusion.kind).toBe('noise');
    expect(conclusionText(found)).toMatch(/^no output of this checkpoint: /);
    expect(conclusionText(found)).toMatch(form.logitsAlone ? /drawn by itself/ : /is not the sum of its parts/);
  });
});

describe('a mistake that nobody knows is unknown, and is told where it begins', () => {
  const zeroed: Mutation = {
    splice: () => (point, value) => {
      if (point !== 'layers.1.attention.heads') return value;
      const [tokens, heads, dim] = value.shape as [number, number, number];
      const own = flat(value).slice();
      for (let t = 0; t < tokens; t++) own.fill(0, t * heads * dim, (t * heads + 1) * dim);
      return tensor(own, value.shape);
    },
  };
  const scaled: Mutation = {
    parts: ({ config, weights }) => ({
      config,
      weights: {
        ...weights,
        layers: weights.layers.map((own, i) => (i === 1 && own.feedForward.kind === 'gated' ? { ...own, feedForward: { ...own.feedForward, down: { ...own.feedForward.down, weight: times(own.feedForward.down.weight, 1.3) } } } : own)), // biome-ignore format: one thought
      },
    }),
  };

  it.each([
    ['one head of layer 1 is zero', zeroed, 'layers.1.attention.heads'],
    ['a matrix of layer 1 is 1.3 times as large', scaled, 'layers.1.feed_forward.output'],
  ] as const)('%s', async (_, mutation, first) => {
    const setting = await shortSetting('families/qwen3');
    const found = await diagnosed(await dumpOfMistake(setting, mutation, WHOLE), setting);
    expect(found.conclusion).toEqual({ kind: 'unknown' });
    expect(found.first).toMatch(new RegExp(`^${first.replaceAll('.', '\\.')}`));
    expect(conclusionText(found)).toMatch(/^no known mutant explains this \(reference is off by [\d.e-]+\)\.$/);
    const logits = await diagnosed(await dumpOfMistake(setting, mutation, LOGITS), setting, { pairs: false });
    expect(logits.conclusion).toEqual({ kind: 'unknown' });
    expect(logits.first).toMatch(/^logits/);
  });
});

function times(matrix: Parameters<typeof valuesOf>[0], factor: number) {
  return matrixOf(matrix.name, valuesOf(matrix).map((value) => factor * value), matrix.rows, matrix.columns); // biome-ignore format: one thought
}

/** The same values at other places: each matrix, and the embedding. */
function withShuffledWeights({ wide: { config, weights, options, files } }: MutantSetting): Model {
  const shuffle = (matrix: Parameters<typeof valuesOf>[0]) => {
    const [values, draw] = [valuesOf(matrix), drawn(matrix.rows * 31 + matrix.columns)];
    for (let i = values.length - 1; i > 0; i--) {
      const other = Math.min(i, Math.floor((((draw() % 1) + 1) % 1) * (i + 1)));
      [values[i], values[other]] = [values[other]!, values[i]!];
    }
    return matrixOf(matrix.name, values, matrix.rows, matrix.columns);
  };
  const parts = matrices(shuffle)({ config, weights });
  const tokens = shuffle(weights.embedding.tokens);
  const head = config.head.tied ? { ...parts.weights.head, output: { ...parts.weights.head.output, weight: tokens } } : parts.weights.head; // biome-ignore format: one thought
  return assemble(config, { ...parts.weights, head, embedding: { ...weights.embedding, tokens } }, options, files);
}

/** Normal draws (Box and Muller 1958), of a seed. */
function drawn(seed: number): () => number {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
