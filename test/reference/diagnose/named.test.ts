/** Mistakes are named: computed in float64 by another run, saved as others do, and told from all others. */
import { describe, expect, it } from 'vitest';
import { diagnose } from '../../../src/reference/diagnose/index.js';
import { conclusionText } from '../../../src/reference/diagnose/words.js';
import { mutantNamed } from '../../../src/reference/mutants/index.js';
import { both, inLayers } from '../../../src/reference/mutants/mutant.js';
import { load, openFixtureDump } from '../../support/comparing.js';
import { diagnosed, dumpOfMistake, formText, LOGITS, mutationOf, namesOf, shortSetting, WHOLE } from '../../support/diagnosing.js'; // biome-ignore format: one thought
import { FORMS } from '../../support/mutant-cases.js';

/** One or two of a group each. */
const NAMED: readonly (readonly [checkpoint: string, ...names: string[]])[] = [
  ['families/mixtral', 'bos-missing', 'rope-theta (theta 10000)', 'window-long', 'experts-shifted', 'cache-stale', 'rows-shifted (the one before)'],
  ['families/gemma2', 'norm-without-one', 'score-softcap-missing', 'residual-in-half'],
  ['families/gpt2-scaled', 'activation (silu)', 'head-transposed', 'position-reset', 'parallel-for-sequential'],
  ['families/deepseek-v2', 'latent-scale-nope', 'shared-expert-missing'],
]; // biome-ignore format: a table

describe.each(NAMED)('of %s', async (checkpoint, ...names) => {
  const setting = await shortSetting(checkpoint);

  it.each(FORMS.map((form) => [formText(form), form] as const))('by %s', async (_, form) => {
    const found: string[] = [];
    for (const name of names) {
      const diagnosis = await diagnosed(await dumpOfMistake(setting, mutationOf(setting, name), form), setting);
      found.push(namesOf(diagnosis));
    }
    expect(found).toEqual(names);
  });
});

describe('a diagnosis', () => {
  it('says what the mistake is, how near it comes, and what is seen and done', async () => {
    const setting = await shortSetting('families/gemma2');
    const told: number[] = [];
    const diagnosis = await diagnosed(
      await dumpOfMistake(setting, mutationOf(setting, 'score-softcap-missing'), WHOLE),
      setting,
      { progress: (runs) => told.push(runs) },
    );
    const { mistake, symptom, fix, group } = mutantNamed('score-softcap-missing');
    expect(diagnosis).toMatchObject({
      theirs: 'the given tensors',
      dtype: 'float32',
      verdict: 'different',
      first: expect.stringMatching(/^layers\.0\.attention\.heads/),
      nearest: [],
      conclusion: {
        kind: 'explained',
        explanations: [{ faults: [{ name: 'score-softcap-missing', label: '', where: 'everywhere', group, mistake, symptom, fix }], until: null }], // biome-ignore format: one thought
      },
    });
    const { conclusion, off, runs, candidates, evidence } = diagnosis;
    if (conclusion.kind !== 'explained') throw new Error();
    const [{ match, ratio }] = conclusion.explanations;
    expect(off).toBeGreaterThan(0.01);
    expect(match).toBeLessThan(1e-4);
    expect(ratio).toBeLessThan(8);
    expect(told).toEqual(Array.from({ length: runs }, (_, i) => i + 1));
    expect(candidates).toBeGreaterThan(60);
    expect(evidence[0]).toBe('embeddings');
    expect(evidence.at(-1)).toBe('logits');
    expect(conclusionText(diagnosis)).toMatch(
      /^score-softcap-missing, at every layer: scores are not capped\. \(match \d\.\de-\d, reference is off by 0\.\d+\)$/,
    );
  });

  it('gives explanations in the order of how near they come', async () => {
    const setting = await shortSetting('families/gemma2');
    const dump = await dumpOfMistake(setting, mutationOf(setting, 'rope-backwards'), LOGITS);
    const { conclusion } = await diagnosed(dump, setting);
    if (conclusion.kind !== 'explained') throw new Error(conclusion.kind);
    const matches = conclusion.explanations.map(({ match }) => match);
    expect(matches).toEqual([...matches].sort((a, b) => a - b));
    for (const { ratio } of conclusion.explanations) expect(ratio).toBeLessThanOrEqual(8);
  });

  it('finds the mistake of the wrong port', async () => {
    const dump = openFixtureDump('wrong-port');
    const diagnosis = await diagnose(dump, load('tiny-llama-rope3-f16'));
    dump.close();
    expect(namesOf(diagnosis)).toBe('rope-interleaved');
    expect(conclusionText(diagnosis)).toMatch(/^rope-interleaved, at every layer: rope rotates neighbouring values/);
  });
});

describe('a mistake in some layers', () => {
  it.each([
    ['tiny-mistral-f16', 'scale-missing', 0],
    ['tiny-mistral-f16', 'window-short', 1],
    ['families/gpt2-scaled', 'attention-residual-missing', 1],
    ['families/gpt2-scaled', 'post-for-pre-norm', 1], // which makes noise larger
    ['families/gpt2-scaled', 'gelu-kind (gelu, exact)', 2],
  ] as const)('of %s: %s, in layer %i alone', async (checkpoint, name, layer) => {
    const setting = await shortSetting(checkpoint);
    const mutation = inLayers(mutationOf(setting, name), (l) => l === layer);
    const { conclusion } = await diagnosed(await dumpOfMistake(setting, mutation, WHOLE), setting);
    if (conclusion.kind !== 'explained') throw new Error(conclusion.kind);
    const [{ faults }] = conclusion.explanations;
    expect(faults).toMatchObject([{ name: name.replace(/ \(.*/, ''), where: { only: layer } }]);
    // In the last layer "from it on" is the same, and is not told as another explanation.
    expect(conclusion.explanations.filter((own) => own.faults[0]!.name === faults[0]!.name)).toHaveLength(1);
  });

  it.each([
    ['tiny-mistral-f16', 'rope-interleaved', 1],
    ['families/gpt2-scaled', 'parallel-for-sequential', 1],
  ] as const)('of %s: %s, from layer %i on', async (checkpoint, name, layer) => {
    const setting = await shortSetting(checkpoint);
    const mutation = inLayers(mutationOf(setting, name), (l) => l >= layer);
    const diagnosis = await diagnosed(await dumpOfMistake(setting, mutation, WHOLE), setting);
    expect(diagnosis.conclusion).toMatchObject({
      kind: 'explained',
      explanations: [{ faults: [{ name, where: { from: layer } }] }],
    });
    expect(conclusionText(diagnosis)).toContain(`${name}, from layer ${layer} on: `);
  });
});

describe('two mistakes together', () => {
  const PAIRS = [
    ['tiny-mistral-f16', 'bos-twice', 'logits-scaled (temperature 0.7)'],
    ['tiny-mistral-f16', 'rope-interleaved', 'head-tied'],
    ['families/gemma2', 'embedding-factor-missing', 'score-softcap-missing'],
    ['families/gpt2-scaled', 'position-off-by-one (too far)', 'gelu-kind (gelu, exact)'],
  ] as const;

  it.each(PAIRS)('of %s: %s and %s', async (checkpoint, one, other) => {
    const setting = await shortSetting(checkpoint);
    const mutation = both(mutationOf(setting, one), mutationOf(setting, other));
    const dump = await dumpOfMistake(setting, mutation, WHOLE);
    expect(
      namesOf(await diagnosed(dump, setting))
        .split(' + ')
        .sort(),
    ).toEqual([one, other].sort());
    const alone = await diagnosed(dump, setting, { pairs: false });
    expect(alone.conclusion.kind).toBe('partly');
    const { explanation } = alone.conclusion as Extract<typeof alone.conclusion, { kind: 'partly' }>;
    const [{ name, label }] = explanation.faults as [(typeof explanation.faults)[number]];
    expect([one, other]).toContain(label ? `${name} (${label})` : name);
    expect(explanation.match).toBeLessThan(alone.off);
    expect(explanation.until).not.toBeNull();
  });
});
