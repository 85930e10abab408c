import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { forward } from '../../../src/model/transformer.js';
import { candidatesFor, MUTANTS } from '../../../src/reference/mutants/index.js';
import type { Candidate } from '../../../src/reference/mutants/mutant.js';
import { flat } from '../../../src/tensor/tensor.js';
import { expectSameBits } from '../../support/bits.js';
import { computed, expectSamePoints, firstUnlike, LAW_MODELS, lawIds, lawModel } from '../../support/mutant-laws.js';

const TOKENS = 8;

const SINGLY = Array<number>(TOKENS).fill(1);

/** Mutants that depend on passes, and were seen to. */
const depended = new Set<string>();

describe.each(LAW_MODELS)('mutants of %s (rows in %s)', (checkpoint, kvDtype) => {
  const model = lawModel(checkpoint, { kvDtype });
  const ids = lawIds(model, TOKENS);
  const candidates = candidatesFor(model);

  /** What a law does not hold for, by name: one table, rather than the first failure. */
  const broken = async (law: (own: Candidate) => Promise<string | null>) => {
    const all: string[] = [];
    for (const own of candidates) {
      const at = await law(own);
      if (at !== null) all.push(`${own.name}: ${at}`);
    }
    return all;
  };

  it('a mutation of nothing computes what the model does, bit for bit', async () => {
    const nothing = await computed(model, {}, ids);
    const logits = await forward(model, [{ ids, cache: model.components.newCache() }], { logits: 'all' });
    expectSameBits(nothing.points.get('logits')!.values, flat(logits));
    expectSamePoints(await computed(model, { byPass: true }, ids, { passes: SINGLY }), nothing, 'token by token');
    expect(nothing.firstRow).toBe(0);
  });

  it('each computes the same twice, of fewer tokens, and in many passes unless it says that it depends on them, and leaves the model as it was', async () => {
    const [before, right] = [fingerprint(model), await computed(model, {}, ids)];
    const found = await broken(async ({ mutant, variant }) => {
      const whole = await computed(model, variant, ids);
      const again = firstUnlike(await computed(model, variant, ids), whole);
      if (again !== null) return `the second time ${again}`;
      if (!variant.byPass && mutant.name !== 'rows-shifted') {
        const some = TOKENS - 3; // a row depends on the tokens up to it alone
        const first = await computed(model, variant, ids.slice(0, some));
        const at = firstUnlike(whole, first, { rows: some });
        if (at !== null) return `of some tokens ${at}`;
      }
      const cut = firstUnlike(await computed(model, { ...variant, byPass: true }, ids, { passes: SINGLY }), whole);
      if (cut !== null && variant.byPass) depended.add(mutant.name);
      return variant.byPass ? null : cut;
    });
    expect(found).toEqual([]);
    expect(fingerprint(model)).toBe(before);
    expect(firstUnlike(await computed(model, {}, ids), right)).toBeNull();
  });
});

it('all that say they depend on passes do, in some model', () => {
  const said = LAW_MODELS.flatMap(([checkpoint, kvDtype]) =>
    candidatesFor(lawModel(checkpoint, { kvDtype })).filter(({ variant }) => variant.byPass),
  );
  const names = MUTANTS.map(({ name }) => name).filter((name) => said.some(({ mutant }) => mutant.name === name));
  expect(names.length).toBeGreaterThan(8);
  expect(names.filter((name) => !depended.has(name))).toEqual([]);
});

/** Every value of a config and its weights. */
function fingerprint({ config, weights, options }: ReturnType<typeof lawModel>): string {
  const hash = createHash('sha256');
  const walk = (value: unknown): void => {
    if (ArrayBuffer.isView(value)) hash.update(value as Uint8Array);
    else if (typeof value === 'object' && value !== null) {
      for (const [key, member] of Object.entries(value)) {
        hash.update(`${key}:`);
        walk(member);
      }
    } else hash.update(`${typeof value} ${String(value)},`);
  };
  walk([config, weights, options]);
  return hash.digest('hex');
}
