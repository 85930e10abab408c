/** Mistakes in some layers, in parts of a model, and two together. */
import { describe, expect, it } from 'vitest';
import { candidatesFor } from '../../../src/reference/mutants/index.js';
import { both, type Candidate, inLayers, isOfLayers, type Mutation } from '../../../src/reference/mutants/mutant.js';
import type { ModelPart } from '../../../src/reference/mutants/run.js';
import { computed, expectSamePoints, firstUnlike, lawIds, lawModel } from '../../support/mutant-laws.js';

const TOKENS = 7;

const inSomeLayer = (point: string) => point.startsWith('layers.');

const FIXTURES = ['families/gpt2-scaled', 'families/gemma2', 'tiny-deepseek-v3-bf16', 'families/bloom'] as const;

describe.each(FIXTURES)('mutants of %s', (checkpoint) => {
  const model = lawModel(checkpoint);
  const ids = lawIds(model, TOKENS);
  const run = (mutation: Mutation, part?: ModelPart) => computed(model, mutation, ids, { part, passes: [4, 3] });
  const count = model.config.layers.length;
  const ofLayers = candidatesFor(model).filter(({ variant }) => isOfLayers(variant));

  const broken = async (all: readonly Candidate[], law: (own: Candidate) => Promise<string | null>) => {
    const found: string[] = [];
    for (const own of all) {
      const at = await law(own);
      if (at !== null) found.push(`${own.name}: ${at}`);
    }
    return found;
  };

  it('in no layer they are right, bit for bit, and in all layers they are what they are everywhere', async () => {
    const right = await run({});
    const found = await broken(ofLayers, async ({ variant }) => {
      const none = firstUnlike(await run(inLayers(variant, () => false)), right);
      if (none !== null) return `in none ${none}`;
      const everywhere = await run(variant);
      const outside = firstUnlike(everywhere, right, { of: (point) => point === 'embeddings' });
      if (outside !== null) return null; // its layers are given other values, too
      return firstUnlike(await run(inLayers(variant, () => true)), everywhere, { of: inSomeLayer });
    });
    expect(found).toEqual([]);
  });

  it('in one layer alone they change nothing before it, and do what they do in the layers from there on', async () => {
    const right = await run({});
    const found = await broken(ofLayers, async ({ variant }) => {
      for (let layer = 0; layer < count; layer++) {
        const alone = await run(inLayers(variant, (l) => l === layer));
        const on = await run(inLayers(variant, (l) => l >= layer));
        const before = (point: string) => point === 'embeddings' || isBefore(point, layer);
        const at = firstUnlike(alone, right, { of: before }) ?? firstUnlike(on, right, { of: before });
        if (at !== null) return `layer ${layer} changes ${at}`;
        const inIt = firstUnlike(alone, on, { of: (point) => point.startsWith(`layers.${layer}.`) });
        if (inIt !== null) return `layer ${layer} alone ${inIt}`;
      }
      return null;
    });
    expect(found).toEqual([]);
  });

  it('a part that begins with our own values computes the same, from any layer on and up to any', async () => {
    const found = await broken(
      [{ name: 'right', variant: { label: '' } } as Candidate, ...candidatesFor(model)],
      async ({ variant }) => {
        if (variant.feeds) return null; // looked at whole
        const whole = await run(variant);
        for (let from = 1; from < count; from++) {
          const input = whole.points.get(`layers.${from - 1}.output`)!.values;
          const rest = firstUnlike(await run(variant, { from, to: count, input }), whole, {
            of: (point) => !isBefore(point, from) && point !== 'embeddings',
          });
          if (rest !== null) return `from ${from}: ${rest}`;
          const one = await run(variant, { from, to: from + 1, input });
          const own = (point: string) => point.startsWith(`layers.${from}.`);
          const at = firstUnlike(one, whole, { of: own });
          if (at !== null) return `${from} alone: ${at}`;
        }
        return firstUnlike(await run(variant, { from: 0, to: 1, input: null }), whole, {
          of: (point) => point === 'embeddings' || point.startsWith('layers.0.'),
        });
      },
    );
    expect(found).toEqual([]);
  });

  it('a part tells no points of layers that it has not, and those after all layers with the last one alone', async () => {
    const input = (await run({})).points.get('layers.0.output')!.values;
    const names = (part: ModelPart) => run({}, part).then(({ points }) => [...points.keys()]);
    const last = await names({ from: 1, to: count, input });
    expect(last).not.toContain('embeddings');
    expect(last).toContain('logits');
    expect(last.filter((point) => isBefore(point, 1))).toEqual([]);
    const first = await names({ from: 0, to: 1, input: null });
    expect(first[0]).toBe('embeddings');
    expect(first.slice(1).filter((point) => !point.startsWith('layers.0.'))).toEqual([]);
    const head = (await run({})).points.get(`layers.${count - 1}.output`)!.values;
    const ofHead = await names({ from: count, to: count, input: head });
    expect(ofHead.filter(inSomeLayer)).toEqual([]);
    expect(ofHead).toContain('logits');
  });

  it('both of a mistake and of nothing are the mistake', async () => {
    const found = await broken(candidatesFor(model), async ({ variant }) => {
      const alone = await run(variant);
      return firstUnlike(await run(both(variant, {})), alone) ?? firstUnlike(await run(both({}, variant)), alone);
    });
    expect(found).toEqual([]);
  });
});

function isBefore(point: string, layer: number): boolean {
  const found = /^layers\.(\d+)\./.exec(point);
  return found !== null && Number(found[1]) < layer;
}

describe('both', () => {
  const model = lawModel('families/gpt2-scaled');
  const ids = lawIds(model, TOKENS);
  const named = (name: string) => candidatesFor(model).find((own) => own.name === name)!.variant;
  const run = (mutation: Mutation) => computed(model, mutation, ids, { passes: [4, 3] });

  it('has the changes of each: in other layers, outside of them, to what is fed and to what is saved', async () => {
    const [scale, gelu] = [named('scale-missing'), named('activation (relu)')];
    const two = await run(
      both(
        inLayers(scale, (l) => l === 0),
        inLayers(gelu, (l) => l === 2),
      ),
    );
    const first = await run(inLayers(scale, (l) => l === 0));
    expect(firstUnlike(two, first, { of: (point) => /^(embeddings|layers\.[01]\.)/.test(point) })).toBeNull();
    expect(firstUnlike(two, first)).toBe('layers.2.feed_forward.hidden');

    const fed = await run(named('bos-twice'));
    const saved = await run(both(named('bos-twice'), named('logits-scaled (temperature 0.8)')));
    expect(firstUnlike(saved, fed)).toBe('logits');
    const logits = fed.points.get('logits')!.values.map((x) => x / 0.8);
    expect([...saved.points.get('logits')!.values]).toEqual([...logits]);
    const twice = await run(both(named('bos-twice'), named('bos-twice')));
    expectSamePoints(
      twice,
      await run(named(`padding-seen (2 x token 0)`).feeds ? padded(2, ids[0]!) : {}),
      'two of them',
    );
  });

  it('of a token too many and one too few feeds the right ones', async () => {
    const right = await run({});
    expectSamePoints(await run(both(named('bos-twice'), named('bos-missing'))), right, 'twice, then one taken');
    const other = both(named('bos-missing'), named('bos-twice')); // the second token twice in the place of the first two
    expect(other.feeds!(ids)).toEqual({ ids: [ids[1], ...ids.slice(1)], first: 0 });
  });

  it('depends on passes if one of the two does, and then a first pass may have no token', async () => {
    expect(both(named('cache-stale'), named('scale-missing')).byPass).toBe(true);
    expect(both(named('scale-missing'), named('cache-stale')).byPass).toBe(true);
    expect(both(named('scale-missing'), named('scale-twice')).byPass).toBe(false);
    expect(both(named('bos-twice'), named('cache-stale')).byPass).toBe(true); // the first says that it does not
    const lost = both(named('bos-missing'), named('cache-stale'));
    const singly = await computed(model, lost, ids, { passes: Array(TOKENS).fill(1) });
    const right = await computed(model, named('cache-stale'), ids.slice(1), { passes: Array(TOKENS - 1).fill(1) });
    expect(singly.firstRow).toBe(1);
    const { values, width } = singly.points.get('logits')!;
    expect([...values.subarray(width)]).toEqual([...right.points.get('logits')!.values]);
  });
});

function padded(count: number, id: number): Mutation {
  return { feeds: (ids) => ({ ids: [...Array<number>(count).fill(id), ...ids], first: count }) };
}
