/** Every strategy x visibility x positions x cache x kernel against the lattice: the same bits, within the bound, or refused. */
import { describe, expect, it } from 'vitest';
import { loadModel } from '../../src/model/load.js';
import { calibrate } from '../../src/reference/calibrate.js';
import { nameOfRule, type RunChoice, relationOf } from '../../src/reference/lattice.js';
import type { Floats } from '../../src/tensor/tensor.js';
import { expectSameBits } from '../support/bits.js';
import { CHECKPOINTS, fixture } from '../support/fixtures.js';
import {
  CACHE_NAMES,
  distance,
  FORMS,
  KERNEL_NAMES,
  logitsOf,
  mustBeRefused,
  refusalOf,
  rules,
  STRATEGY_NAMES,
  textbook,
  withChoice,
} from './cases.js';

const LENGTH = 45;
const CHUNKS = [1, 4, 13, LENGTH];

describe.each(CHECKPOINTS.filter((name) => name.startsWith('tiny-')))('%s', (name) => {
  const model = loadModel(fixture(name));
  const ids = Array.from({ length: LENGTH }, (_, i) => (i * i * 7 + 3 * i) % model.config.vocabulary);
  const known = new Map<string, Promise<Floats>>();
  const run = (choice: RunChoice, chunk = LENGTH) => logitsOf(withChoice(model, choice), ids, chunk);
  const once = (choice: RunChoice) => {
    const key = JSON.stringify(choice);
    const found = known.get(key) ?? run(choice);
    known.set(key, found);
    return found;
  };
  const all = rules(16, LENGTH).map((rule) => ({ ...rule, name: nameOfRule(rule) }));

  it.each(all)('seen as $name, it relates to how it is configured as declared', async ({ visibility, positions }) => {
    const choice = textbook({ visibility, positions });
    const plain = textbook({ visibility: 'auto', positions: 'absolute' });
    const relation = relationOf(choice, plain, model.config, LENGTH);
    const [found, expected] = [await once(choice), await once(plain)];
    if (relation.kind === 'exact') expectSameBits(found, expected);
    else if (relation.kind === 'reordered') expect(distance(found, expected)).toBeLessThanOrEqual(relation.bound);
    else expect(distance(found, expected)).toBeGreaterThan(1e5); // what is called lossy is no rounding
  });

  it.each(FORMS)('stored as $named, it relates to other choices as declared', async ({ config: kvDtype }) => {
    const plain = textbook({ visibility: 'auto', positions: 'absolute' });
    const amax = kvDtype.scale && (await calibrate(model, ids));
    const base = { ...plain, kvDtype: { ...kvDtype, amax } };
    const latent = model.config.layers[0]!.attention.kind === 'latent';
    const others: Partial<RunChoice>[] = [
      { kvDtype: 'auto' },
      { kvDtype: 'int8' },
      { positions: 'in-cache' },
      { cache: 'radix' },
      { kernel: 'flash' },
      { attention: latent ? 'mla' : 'gqa' },
      ...(kvDtype.scale ? [] : [{ attention: latent ? 'mla-naive' : 'mha' } as const]),
    ];
    const kinds = await Promise.all(
      others.map(async (other) => {
        const choice = { ...base, ...other };
        const relation = relationOf(choice, base, model.config, LENGTH);
        const [found, expected] = [await once(choice), await once(base)];
        if (relation.kind === 'exact') expectSameBits(found, expected, JSON.stringify(other));
        else expect(relation.kind).toBe('lossy');
        return relation.kind === 'lossy' && distance(found, expected) === 0 ? JSON.stringify(other) : null;
      }),
    );
    // What is called lossy changes something (but int8 beside itself; and flash only where a rounding turns a code).
    expect(kinds.filter((kind) => kind !== null && !kind.includes('flash'))).toEqual([]);
  });

  describe.each(STRATEGY_NAMES)('attention %s', (attention) => {
    it.each(all)('with $name, any cache and kernel', async ({ visibility, positions }) => {
      let chunk = STRATEGY_NAMES.indexOf(attention);
      for (const kernel of KERNEL_NAMES) {
        for (const cache of CACHE_NAMES) {
          const choice: RunChoice = { ...textbook({ visibility, positions }), attention, cache, kernel };
          const refusal = refusalOf(model, choice);
          expect(refusal !== null, `${cache}, ${kernel}: ${refusal}`).toBe(mustBeRefused(model.config, choice));
          if (refusal !== null) continue;
          // Without a cache, each chunk computes all before it again.
          const found = await run(choice, cache === 'none' ? 13 : CHUNKS[chunk++ % CHUNKS.length]);
          for (const other of [textbook({ visibility, positions }), { ...choice, cache: 'contiguous' as const }]) {
            const relation = relationOf(choice, other, model.config, LENGTH);
            if (relation.kind === 'exact') expectSameBits(found, await once(other), `${cache}, ${kernel}`);
            else if (relation.kind === 'lossy') expect.unreachable();
            else expect(distance(found, await once(other)), `${cache}, ${kernel}`).toBeLessThanOrEqual(relation.bound);
          }
        }
      }
    });
  });
});
