/**
 * Every form of rows with every strategy, visibility, position policy, cache and kernel: one attention layer with the weights of each checkpoint,
 * fed in chunks, against the same layer over a cache that reads rows by definition. The same bits, or refused.
 */
import { describe, expect, it } from 'vitest';
import type { KvCache } from '../../attention/cache/cache.js';
import { amaxOf } from '../../attention/cache/codec/amax.js';
import type { KvConfig } from '../../attention/cache/codec/format.js';
import { AttentionCounter, attentionLayer } from '../../attention/layer.js';
import { consecutive } from '../../attention/streams.js';
import { rotationAt } from '../../src/math/rope.js';
import { assemble, loadModel, type Model } from '../../src/model/load.js';
import { nameOfRule, type RunChoice } from '../../src/reference/lattice.js';
import { type Floats, flat, floats, rowsOf, tensor } from '../../src/tensor/tensor.js';
import { expectSameBits } from '../support/bits.js';
import { CHECKPOINTS, fixture } from '../support/fixtures.js';
import { oracleCache } from '../support/read-back.js';
import { noise, single } from '../support/streams.js';
import { CACHE_NAMES, FORMS, KERNEL_NAMES, refusalOf, rules, STRATEGY_NAMES, textbook, withChoice } from './cases.js';

const LENGTH = 37;
const CHUNKS = [1, 4, 13, LENGTH];

/** A model of one layer. */
function firstLayer({ config, weights, files, options }: Model): Model {
  const layers = [config.layers[0]!];
  return assemble({ ...config, layers }, { ...weights, layers: [weights.layers[0]!] }, options, files);
}

/** The layer's output [T, D], fed in chunks. */
async function outputOf({ config, components, options }: Model, cache: KvCache, chunk: number): Promise<Floats> {
  const { precision } = options;
  const x = noise(LENGTH * config.width, 3);
  const x_TD = tensor(precision === 'float64' ? x : single(x), [LENGTH, config.width]);
  const [layer, rope] = [components.layers[0]!, config.layers[0]!.attention.rope!];
  const whole = floats(precision, LENGTH * config.width);
  for (let from = 0; from < LENGTH; from += chunk) {
    const to = Math.min(from + chunk, LENGTH);
    const first = cache.next; // 0 again where nothing is kept
    const positions = consecutive(first, to - first);
    cache.begin(positions, [...positions]);
    const part = { cache, from: 0, to: to - first, positions };
    const rotation = rotationAt(rope, positions, precision);
    const out = await attentionLayer(rowsOf(x_TD, first, to), layer, rotation, [part], new AttentionCounter());
    cache.commit();
    whole.set(flat(out), first * config.width);
  }
  return whole;
}

describe.each(CHECKPOINTS.filter((name) => name.startsWith('tiny-')))('%s', (name) => {
  const model = firstLayer(loadModel(fixture(name)));
  const plain = textbook({ visibility: 'auto', positions: 'absolute' });
  const strategies = STRATEGY_NAMES.filter((attention) => refusalOf(model, { ...plain, attention }) === null);

  describe.each(strategies)('attention %s', (attention) => {
    it.each(FORMS)('$named', async ({ config }) => {
      let turn = 0;
      for (const rule of rules(16, LENGTH)) {
        const base = { ...plain, ...rule, attention };
        const dtype = config.scale ? { ...config, amax: await measured(base) } : config;
        const oracles = new Map<string, Floats>();
        for (const kernel of KERNEL_NAMES) {
          const own = withChoice(model, { ...base, kernel, kvDtype: dtype });
          const cache = oracleCache(own.components.schemas, own.components.format, 'float32');
          oracles.set(kernel, await outputOf(own, cache, LENGTH));
        }
        for (const cache of CACHE_NAMES) {
          const kernel = KERNEL_NAMES[turn % KERNEL_NAMES.length]!;
          const choice = { ...base, cache, kernel };
          if (refusalOf(model, choice) !== null) continue; // the matrix holds what must be refused
          const own = withChoice(model, { ...choice, kvDtype: dtype });
          const chunk = cache === 'none' ? 19 : CHUNKS[turn++ % CHUNKS.length]!;
          const found = await outputOf(own, own.components.newCache(), chunk);
          expectSameBits(found, oracles.get(kernel)!, `${nameOfRule(rule)}, ${cache}, ${kernel}, chunks of ${chunk}`);
        }
      }
    });

    /** The largest values that this layer stores, from a run that stores them as they are. */
    async function measured(choice: RunChoice) {
      const own = withChoice(model, choice);
      const cache = own.components.newCache();
      await outputOf(own, cache, LENGTH);
      return [amaxOf(cache.blocks(0), own.components.schemas[0]!.streams)];
    }
  });
});

describe.each(['tiny-llama-rope3-f16', 'tiny-deepseek-v3-bf16'])('%s in float64', (name) => {
  const model = firstLayer(loadModel(fixture(name), { precision: 'float64' }));
  const forms = FORMS.filter(({ config }) => !config.scale);
  it.each([...forms, { config: { dtype: 'float32' } as KvConfig, named: 'float32' }])('$named', async ({ config }) => {
    for (const visibility of ['auto', { kind: 'sliding', window: 16 }] as const) {
      const base = { ...textbook({ visibility, positions: 'absolute' }), kvDtype: config };
      const { schemas, format } = withChoice(model, base).components;
      const oracle = await outputOf(withChoice(model, base), oracleCache(schemas, format, 'float64'), LENGTH);
      for (const [turn, cache] of CACHE_NAMES.entries()) {
        if (refusalOf(model, { ...base, cache }) !== null) continue;
        const own = withChoice(model, { ...base, cache });
        const found = await outputOf(own, own.components.newCache(), cache === 'none' ? LENGTH : CHUNKS[turn % 4]!);
        expectSameBits(found, oracle, cache);
      }
    }
  });
});

describe('a form of rows that a cache has no meaning for is refused', () => {
  const model = loadModel(fixture('tiny-llama-rope3-f16'));
  const keys: KvConfig = { dtype: 'int4', keys: 'channel', group: 32 };
  it.each<[string, KvConfig, Partial<typeof model.options>, string]>([
    [
      'pages that cut groups',
      keys,
      { cache: 'paged', pageSize: 16 },
      'Pages of 16 tokens would cut the groups of 32 tokens',
    ],
    [
      'a residual of parts of groups',
      { ...keys, residual: 48 },
      {},
      'of the group of 32 tokens (--kv-group), since keys by channel are stored in whole groups, got 48',
    ],
    ['no residual', { ...keys, residual: 0 }, {}, 'whole groups, got 0'],
    ['a scale without values', { dtype: 'fp8_e4m3', scale: 'head' }, {}, 'needs amax'],
    ['values without a scale', { dtype: 'fp8_e4m3', amax: [] }, {}, 'no scale is made of it'],
    [
      'values of another model',
      { dtype: 'fp8_e4m3', scale: 'head', amax: [{ keys: [1] }] },
      {},
      "of each of 2 heads of 'keys' in layer 0, got [1]",
    ],
    ['a group for fp8', { dtype: 'fp8_e4m3', group: 32 }, {}, 'kvDtype fp8_e4m3: group has no meaning for it'],
    [
      'a group of nothing',
      { dtype: 'int8', group: 0 },
      {},
      'group (--kv-group): expected a whole number of at least 1',
    ],
    ['half a residual', { dtype: 'int8', residual: 0.5 }, {}, 'residual (--kv-residual): expected a whole number'],
    [
      'another zero',
      { dtype: 'int8', zero: 'none' as never },
      {},
      'zero: expected one of symmetric, affine, got "none"',
    ],
  ])('%s', (_, kvDtype, options, message) => {
    const { config, weights } = model;
    expect(() => assemble(config, weights, { ...model.options, ...options, kvDtype })).toThrow(message);
  });
});
