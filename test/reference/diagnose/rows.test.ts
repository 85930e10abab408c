/** What one row, one layer or one choice of experts says: nothing of it is lost in a mean, or passed over. */
import { expect, it } from 'vitest';
import { inLayers, type Mutation } from '../../../src/reference/mutants/mutant.js';
import { changed } from '../../support/comparing.js';
import { diagnosed, dumpOfMistake, LOGITS, mutationOf, shortSetting, WHOLE } from '../../support/diagnosing.js';
import { FORMS } from '../../support/mutant-cases.js';

it.each(FORMS.filter(({ logitsAlone }) => logitsAlone))(
  'does not call one wrong row of logits noise ($dtype)',
  async (form) => {
    const setting = await shortSetting('families/qwen3');
    const dump = changed(await dumpOfMistake(setting, {}, form), ({ name, shape, read }) => {
      if (name !== 'logits') return undefined;
      const [values, last] = [read().slice(), (shape[0]! - 1) * shape[1]!];
      return { values: values.map((x, i) => (i >= last && i % 2 ? 1.25 * x : x)) };
    });
    const { conclusion } = await diagnosed(dump, setting, { pairs: false });
    expect(conclusion.kind).toBe('unknown');
  },
);

it('finds a mistake of one layer by logits alone', async () => {
  const setting = await shortSetting('tiny-mistral-f16');
  const mutation = inLayers(mutationOf(setting, 'rope-interleaved'), (layer) => layer === 1);
  const { conclusion } = await diagnosed(await dumpOfMistake(setting, mutation, LOGITS), setting, { pairs: false });
  const faults = [{ name: 'rope-interleaved', where: { only: 1 } }];
  expect(conclusion).toMatchObject({ kind: 'explained', explanations: [{ faults }] });
});

it('takes no mistake for theirs that chooses another number of experts', async () => {
  const setting = await shortSetting('families/mixtral');
  const splice: NonNullable<Mutation['splice']> = () => (point, value) => {
    if (point === 'layers.0.router.weights') for (let i = 0; i < value.size; i++) value.data[i]! *= 0.7;
    return value;
  };
  const { conclusion } = await diagnosed(await dumpOfMistake(setting, { splice }, WHOLE), setting, { pairs: false });
  expect(conclusion.kind).toBe('unknown');
});

it('tells a checkpoint that was trained further from a mistake', async () => {
  const setting = await shortSetting('families/qwen3');
  const dump = changed(await dumpOfMistake(setting, {}, WHOLE), ({ name, read }) =>
    /ids$|positions/.test(name) ? undefined : { values: read().map((x, i) => x * (1 + 0.01 * Math.sin(i))) },
  );
  const { conclusion } = await diagnosed(dump, setting, { pairs: false });
  expect(conclusion).toMatchObject({
    kind: 'other checkpoint',
    why: expect.stringMatching(/trained further, or quantised/),
  });
});

it('takes no mistake for theirs that leaves one row out of all beyond the noise', async () => {
  const setting = await shortSetting('families/qwen3');
  const mutation = mutationOf(setting, 'rope-interleaved');
  const dump = changed(await dumpOfMistake(setting, mutation, LOGITS), ({ name, shape, read }) => {
    if (name !== 'logits') return undefined;
    const last = (shape[0]! - 1) * shape[1]!;
    return { values: read().map((x, i) => (i >= last ? x * (1 + 5e-6) : x)) };
  });
  const { conclusion } = await diagnosed(dump, setting, { pairs: false });
  expect(conclusion.kind).toBe('partly');
});
