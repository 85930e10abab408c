/** Wrong on purpose: a golden must notice when any of its model's features is left out. */
import { describe, expect, it } from 'vitest';
import { assemble, loadModel } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { FEATURES } from '../../src/reference/features/index.js';
import { flat } from '../../src/tensor/tensor.js';
import { CHECKPOINTS, FAMILY_CHECKPOINTS, fixture, GOLDENS, goldenOptions, readGolden } from '../support/fixtures.js';
import { WITHOUT } from '../support/without.js';

const ALL = [...CHECKPOINTS, ...FAMILY_CHECKPOINTS];

/** What every change moves a logit by at least, of logits that are a few units large: hundreds of times what float32 does. */
const CLEAR = 1e-2;

it('every feature can be left out, or there is a reason why not', () => {
  expect(Object.keys(WITHOUT).sort()).toEqual(FEATURES.map(({ name }) => name).sort());
});

it('every feature is in a golden', () => {
  const configs = ALL.map((name) => loadModel(fixture(name), goldenOptions(name)).config);
  for (const { name, has } of FEATURES) expect(configs.some(has), name).toBe(true);
});

it('every checkpoint has one way of sharing key/value heads', () => {
  const heads = FEATURES.filter(({ group }) => group === 'heads');
  for (const name of ALL) {
    const { config } = loadModel(fixture(name), goldenOptions(name));
    expect(heads.filter(({ has }) => has(config)).length, name).toBe(1);
  }
});

describe.each(ALL)('%s', (checkpoint) => {
  const { name } = GOLDENS.find((golden) => golden.checkpoint === checkpoint)!;
  const { inputIds, truth } = readGolden(name);
  const { config, weights, options } = loadModel(fixture(checkpoint), goldenOptions(checkpoint));

  /** The largest distance of a logit of the prompt from the truth. */
  async function distance(changed: { config: typeof config; weights: typeof weights }): Promise<number> {
    const model = assemble(changed.config, changed.weights, options);
    const cache = model.components.newCache();
    const logits = flat(await forward(model, [{ ids: inputIds, cache }], { logits: 'all' }));
    return Math.max(...Array.from(logits, (logit, i) => Math.abs(logit - truth[i]!)));
  }

  it('meets its golden as it is', async () => {
    expect(await distance({ config, weights })).toBeLessThan(CLEAR / 50);
  });

  const present = FEATURES.filter(({ name: feature, has }) => has(config) && typeof WITHOUT[feature] === 'function');
  it.each(present.map((feature) => feature.name))('does not without: %s', async (feature) => {
    const change = WITHOUT[feature] as Exclude<(typeof WITHOUT)[string], string | undefined>;
    expect(await distance(change({ config, weights }))).toBeGreaterThan(CLEAR);
  });
});
