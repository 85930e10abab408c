import { describe, expect, it } from 'vitest';
import { AttentionCounter } from '../../attention/layer.js';
import { feed, generate } from '../../src/generate/generate.js';
import { loadModel } from '../../src/model/load.js';
import { makeGolden } from '../../src/reference/golden.js';
import { fixture, readGolden } from '../support/fixtures.js';

const NAME = 'tiny-llama-rope3-f16';
const { inputIds, generatedIds } = readGolden(NAME);

async function ids(
  options: Parameters<typeof generate>[3],
  model = loadModel(fixture(NAME)),
  prompt: number[] = inputIds,
): Promise<number[]> {
  const made: number[] = [];
  for await (const { id } of generate(model, prompt, model.components.newCache(), options)) made.push(id);
  return made;
}

describe('generation', () => {
  it.each(['none', 'contiguous'] as const)(
    'is greedy by default, and follows the golden with cache %s',
    async (cache) => {
      expect(await ids({ maxNewTokens: 64 }, loadModel(fixture(NAME), { cache }))).toEqual(generatedIds);
    },
  );

  it('gives the same sampled tokens for a seed, whatever the cache and chunks', async () => {
    const options = { maxNewTokens: 40, temperature: 1.5, topP: 0.95, seed: 11 };
    const first = await ids(options);
    expect(
      await ids({ ...options, prefillChunk: 5 }, loadModel(fixture(NAME), { cache: 'none', attention: 'mha' })),
    ).toEqual(first);
    expect(await ids({ ...options, seed: 12 })).not.toEqual(first);
  });

  it('ends with an end-of-sequence token', async () => {
    expect(await ids({ maxNewTokens: 64, eosIds: [generatedIds[5]!] })).toEqual(
      generatedIds.slice(0, generatedIds.indexOf(generatedIds[5]!) + 1),
    );
  });

  it('goes on from a cache that holds the beginning of the prompt', async () => {
    const model = loadModel(fixture(NAME));
    const cache = model.components.newCache();
    for await (const _ of generate(model, inputIds, cache, { maxNewTokens: 10 }));
    const counter = new AttentionCounter();
    const again: number[] = [];
    for await (const { id } of generate(model, [...inputIds, ...generatedIds.slice(0, 12)], cache, {
      maxNewTokens: 4,
      prefillChunk: 2,
      counter,
    }))
      again.push(id);
    expect(again).toEqual(generatedIds.slice(12, 16));
    expect(counter.computed / 2).toBe(3 + 3); // of the prompt 3 tokens were not in the cache; then 3 more were fed
  });

  it('refuses logits that are NaN, and a golden of them', async () => {
    const model = loadModel(fixture(NAME));
    model.weights.finalNorm!.weight![0] = Number.NaN;
    await expect(ids({ maxNewTokens: 1 }, model)).rejects.toThrow('There are logits that are NaN');
    await expect(ids({ maxNewTokens: 1, temperature: 1 }, model)).rejects.toThrow('There are logits that are NaN');
    await expect(makeGolden(model, inputIds, model.components.newCache(), { steps: 0 })).rejects.toThrow('NaN');
  });

  it('makes no golden on a cache that holds something', async () => {
    const model = loadModel(fixture(NAME));
    const cache = model.components.newCache();
    for await (const _ of generate(model, inputIds, cache, { maxNewTokens: 1 }));
    await expect(makeGolden(model, inputIds, cache, { steps: 1 })).rejects.toThrow(
      'A golden needs an empty cache; this one goes on at position 48.',
    );
    await expect(feed(model, [...inputIds, 1], cache, { from: 0, logits: 'all' })).rejects.toThrow(
      'The logits from token 0 on are asked for, and the cache goes on at 48.',
    );
  });

  it('refuses a cache that holds more than the prompt', async () => {
    const model = loadModel(fixture(NAME));
    const cache = model.components.newCache();
    for await (const _ of generate(model, inputIds, cache, { maxNewTokens: 1 }));
    const again = generate(model, inputIds, cache, { maxNewTokens: 1 });
    await expect(again.next()).rejects.toThrow(
      'The cache goes on at position 48, and there are only 48 tokens; nothing is left to feed.',
    );
  });

  it('refuses what it cannot do, before it computes', async () => {
    await expect(ids({ maxNewTokens: 500 })).rejects.toThrow(
      "The prompt's 48 tokens and 500 new ones exceed the model's context of 512; ask for at most 464 new tokens, or let it see a window (visibility sliding, chunked, sinks).",
    );
    await expect(ids({ maxNewTokens: 1 }, undefined, Array(512).fill(1))).rejects.toThrow('shorten the prompt');
    await expect(ids({ maxNewTokens: 1 }, undefined, [])).rejects.toThrow('The prompt has no tokens');
    await expect(ids({ maxNewTokens: -1 })).rejects.toThrow(
      'New tokens: expected a whole number of at least 0, got -1.',
    );
    expect(await ids({ maxNewTokens: 0 })).toEqual([]);
  });
});
