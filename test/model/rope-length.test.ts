/** Ropes that depend on the length of a sequence (dynamic, longrope): a model has one of them, for the length that it is loaded for. */
import { describe, expect, it } from 'vitest';
import { checkRequest, feed } from '../../src/generate/generate.js';
import { describeRun } from '../../src/model/describe.js';
import { type LoadOptions, loadModel } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { flat } from '../../src/tensor/tensor.js';
import { CACHE_NAMES } from '../conformance/cases.js';
import { fixture, goldenOptions, readGolden } from '../support/fixtures.js';

const load = (name: string, options: LoadOptions) => loadModel(fixture(`families/${name}`), options);

async function logitsOf(name: string, ids: readonly number[], options: LoadOptions) {
  const model = load(name, options);
  return flat(await forward(model, [{ ids, cache: model.components.newCache() }], { logits: 'all' }));
}

/** Lengths that make another rope than the golden's, and one that makes the same. Trained: the length where none is given. */
const CASES = [
  { name: 'llama-dynamic', trained: 64, other: [64, 96, 127, 256], pair: [3, 64] },
  { name: 'llama-longrope-short', trained: 96, other: [97, 256], pair: [3, 96] },
  { name: 'llama-longrope-long', trained: 32, other: [32], pair: [33, 256] },
];

describe.each(CASES)('$name', ({ name, trained, other, pair }) => {
  const { inputIds, generatedIds, truth } = readGolden(name);

  it.each(other)('gives other logits when it is loaded for %i tokens', async (ropeLength) => {
    const distance = async (options: LoadOptions) => {
      const logits = await logitsOf(name, inputIds.slice(0, ropeLength), options);
      return Math.max(...Array.from(logits, (logit, i) => Math.abs(logit - truth[i]!)));
    };
    expect(await distance(goldenOptions(`families/${name}`))).toBeLessThan(2e-4);
    expect(await distance({ ropeLength })).toBeGreaterThan(1e-2);
  });

  it(`has one rope for ${pair[0]} and for ${pair[1]} tokens`, async () => {
    const [first, second] = pair.map((ropeLength) => logitsOf(name, inputIds.slice(0, 3), { ropeLength }));
    expect(await first).toEqual(await second);
  });

  it('takes as many tokens as its rope is made for, and says how to take more', () => {
    const [model, longer] = [load(name, {}), load(name, { ropeLength: trained + 4 })];
    expect([model.config.context, longer.config.context]).toEqual([trained, trained + 4]);
    const prompt = Array(trained - 2).fill(1);
    expect(() => checkRequest(model, prompt, 2)).not.toThrow();
    expect(() => checkRequest(longer, prompt, 6)).not.toThrow();
    expect(() => checkRequest(model, prompt, 3)).toThrow(
      `The prompt's ${trained - 2} tokens and 3 new ones exceed the model's context of ${trained}; ask for at most 2 new tokens, ` +
        'or load it with a rope for more, if it can have one (--rope-length, ropeLength).',
    );
  });

  it('names the length that its rope is for in what a run is recorded with', () => {
    const recorded = [{}, { ropeLength: trained + 4 }].map((options) => describeRun(load(name, options)).ropeLength);
    expect(recorded).toEqual([`${trained}`, `${trained + 4}`]);
    expect(describeRun(loadModel(fixture('tiny-llama-rope3-f16')))).not.toHaveProperty('ropeLength');
  });

  const ids = [...inputIds, ...generatedIds.slice(0, -1)];
  it.each(CACHE_NAMES.filter((cache) => cache !== 'ring'))(
    // a ring needs a window
    'has the bits of one pass with cache %s, in chunks and token by token',
    async (cache) => {
      const options = goldenOptions(`families/${name}`);
      const whole = await logitsOf(name, ids, options);
      for (const chunk of [1, 7]) {
        const model = load(name, { ...options, cache });
        const chunks = await feed(model, ids, model.components.newCache(), { from: 0, chunk, logits: 'all' });
        expect(flat(chunks)).toEqual(whole);
      }
    },
  );
});

it.each<[string, number, string]>([
  ['gpt2-scaled', 64, '--rope-length: the model of '],
  ['llama-longrope-short', 257, '--rope-length: expected at most max_position_embeddings = 256 of'],
  ['llama-longrope-short', 0, '--rope-length (ropeLength): expected a whole number of at least 1, got 0'],
  ['llama-yarn-mscale', 64, 'is yarn, which does not depend on a length'],
  ['gemma3-text', 64, 'is linear, which does not depend on a length'],
  ['qwen3', 64, 'is default, which does not depend on a length'],
])('%s is not loaded for %i tokens', (name, ropeLength, message) => {
  expect(() => load(name, { ropeLength })).toThrow(message);
});

it('a context that does not depend on the rope says nothing of it', () => {
  expect(() => checkRequest(load('qwen3', {}), Array(256).fill(1), 1)).toThrow(
    'context of 256; shorten the prompt, or let it see a window',
  );
});
