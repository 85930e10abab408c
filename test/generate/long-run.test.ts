/** A window bounds the memory of a text of any length, and so does a window with sinks. */
import { describe, expect, it } from 'vitest';
import { generate, longestText } from '../../src/generate/generate.js';
import { argmax } from '../../src/generate/sampler.js';
import { type LoadOptions, loadModel } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { type Floats, flat } from '../../src/tensor/tensor.js';
import { fixture } from '../support/fixtures.js';
import { living } from '../support/heap.js';

describe.each([
  ['sliding', { visibility: { kind: 'sliding', window: 128 } }],
  ['sinks, by slot', { visibility: { kind: 'sinks', sinks: 4, window: 124 }, positions: 'in-cache' }],
] as const)('20,000 decode steps with a window (%s)', (_, options) => {
  it('hold a constant number of KV bytes and a constant heap', { timeout: 600_000 }, async () => {
    const model = loadModel(fixture('tiny-llama-rope3-f16'), { ...options, cache: 'ring' });
    const cache = model.components.newCache();
    const seen: { bytes: object; heap: number }[] = [];
    let id = 1;
    for (let step = 1; step <= 20_000; step++) {
      const logits: Floats = flat(await forward(model, [{ ids: [id], cache }]));
      id = argmax(logits);
      if (step >= 10_000 && step % 5000 === 0) seen.push({ bytes: cache.bytes(), heap: await living() });
    }
    expect(cache.next).toBe(20_000);
    const token = 2 * 2 * 2 * 16 * 4; // layers, keys and values, heads, head dim, float32
    for (const { bytes } of seen) expect(bytes).toEqual({ used: 128 * token, allocated: 129 * token });
    const heaps = seen.map((each) => each.heap);
    // The log of the tokens themselves grows, by 4 bytes each; a leak of a row a step would be 7.7 MB.
    expect(Math.max(...heaps) - Math.min(...heaps)).toBeLessThan(300_000);
  });
});

it.each([
  ['families/gpt2-scaled', 'context of 96; ask for at most 93 new tokens.'],
  ['families/llama-longrope-short', 'or load it with a rope for more, if it can have one (--rope-length, ropeLength).'],
])('where positions are counted, a window makes no text longer than they are: %s', (name, message) => {
  const model = loadModel(fixture(name), { visibility: { kind: 'sliding', window: 8 } });
  const ask = () => generate(model, [1, 2, 3], model.components.newCache(), { maxNewTokens: 100 });
  expect(ask).toThrow(message);
});

it.each<[string, LoadOptions, number]>([
  // A window and its sinks that fill the context; and one token more.
  ['tiny-llama-rope3-f16', { visibility: { kind: 'sinks', sinks: 4, window: 508 } }, Number.POSITIVE_INFINITY],
  ['tiny-llama-rope3-f16', { visibility: { kind: 'sinks', sinks: 4, window: 509 } }, 512],
  // Windows in some of its layers, and in the others none.
  ['tiny-gpt-oss-bf16', {}, 512],
  ['families/gpt2-scaled', { visibility: { kind: 'sliding', window: 8 } }, 96],
  ['families/llama-longrope-short', { visibility: { kind: 'sinks', sinks: 2, window: 8 } }, 96],
  // Rotated by slot, no token is further from another than its rope was made for.
  [
    'families/llama-longrope-short',
    { visibility: { kind: 'sinks', sinks: 2, window: 8 }, positions: 'in-cache' },
    Number.POSITIVE_INFINITY,
  ],
])('the longest text of %s with %j has %d tokens', (name, options, expected) => {
  expect(longestText(loadModel(fixture(name), options))).toBe(expected);
});

it('generation goes on past four times the context, where a window bounds what is seen', async () => {
  const options = {
    visibility: { kind: 'sinks', sinks: 4, window: 60 },
    positions: 'in-cache',
    cache: 'ring',
  } as const;
  const model = loadModel(fixture('tiny-llama-rope3-f16'), options);
  let made = 0;
  for await (const _ of generate(model, [1, 2, 3], model.components.newCache(), { maxNewTokens: 2100 })) made++;
  expect(made).toBe(2100);
  expect(model.config.context).toBe(512);
  const full = loadModel(fixture('tiny-llama-rope3-f16'));
  expect(() => generate(full, [1, 2, 3], full.components.newCache(), { maxNewTokens: 2100 })).toThrow(
    "exceed the model's context of 512",
  );
});
