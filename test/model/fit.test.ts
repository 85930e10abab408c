/** A config put together with weights that have not all of it is refused when it is put together. */
import { describe, expect, it } from 'vitest';
import { assemble, loadModel, type Model } from '../../src/model/load.js';
import type { LayerWeights } from '../../src/model/weights.js';
import { fixture } from '../support/fixtures.js';

const without =
  ({ config, weights, options }: Model, change: (own: LayerWeights) => object) =>
  () =>
    assemble(config, { ...weights, layers: weights.layers.map((own) => ({ ...own, ...change(own) })) }, options);

describe('a part of the config without weights', () => {
  it.each<[string, string, (own: LayerWeights) => object]>([
    [
      'tiny-gpt-oss-bf16',
      'layers[0].attention.sinks',
      ({ attention }) => ({ attention: { ...attention, sinks: null } }),
    ],
    [
      'families/qwen3',
      'layers[0].attention.qkNorm',
      ({ attention }) => ({ attention: { ...attention, keyNorm: null } }),
    ],
    [
      'families/gemma2',
      'layers[0].feedForwardBranch.outputNorm',
      ({ feedForwardNorms }) => ({ feedForwardNorms: { ...feedForwardNorms, output: null } }),
    ],
    [
      'families/qwen2-moe',
      'layers[0].feedForward.shared',
      ({ feedForward }) => ({ feedForward: { ...feedForward, shared: null } }),
    ],
    [
      'families/qwen2',
      'layers[0].feedForward',
      ({ feedForward }) => ({ feedForward: { ...feedForward, kind: 'plain' } }),
    ],
  ])('%s: %s is named', (name, part, change) => {
    expect(without(loadModel(fixture(name)), change)).toThrow(
      `The config has ${part}, and there are no weights for it.`,
    );
  });

  it('and so are layers too few, positions, a final norm', () => {
    const { config, weights, options } = loadModel(fixture('families/gpt2-scaled'));
    const built = (change: object) => () => assemble(config, { ...weights, ...change }, options);
    expect(built({ layers: weights.layers.slice(1) })).toThrow('The config has 3 layers, and there are weights of 2.');
    expect(built({ finalNorm: null })).toThrow('The config has finalNorm,');
    expect(built({ embedding: { ...weights.embedding, positions: null } })).toThrow(
      'The config has embedding.positions,',
    );
  });

  it('is not missed where the config has not the part either', () => {
    const { config, weights, options } = loadModel(fixture('families/gpt2-scaled'));
    const bare = { ...config, embedding: { ...config.embedding, positions: null } };
    expect(() =>
      assemble(bare, { ...weights, embedding: { ...weights.embedding, positions: null } }, options),
    ).not.toThrow();
  });
});

it('a norm after a rope that changes lengths is refused where rows are rotated by slot', () => {
  const { config, weights, options } = loadModel(fixture('families/llama4-text'));
  const rotated = config.layers.filter(({ attention }) => attention.rope);
  const model = (magnitude: number) => {
    const layers = rotated.map((layer) => {
      const rope = { ...layer.attention.rope!, magnitude };
      return { ...layer, attention: { ...layer.attention, rope } as typeof layer.attention };
    });
    const own = weights.layers.filter((_, i) => config.layers[i]!.attention.rope);
    return () => assemble({ ...config, layers }, { ...weights, layers: own }, { ...options, positions: 'in-cache' });
  };
  expect(model(1)).not.toThrow();
  expect(model(1.1)).toThrow('its rope changes what the norm sees; choose absolute');
});
