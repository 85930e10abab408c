import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compare } from '../../../src/reference/compare/index.js';
import { trace, writeTrace } from '../../../src/reference/trace/index.js';
import { IDS, load, openFixtureDump, planted, tensorOf } from '../../support/comparing.js';
import { fixture, temporaryFolder } from '../../support/fixtures.js';

describe('a golden in place of a model', () => {
  const model = load('tiny-llama-rope3-f16');
  const exact = load('tiny-llama-rope3-f16', { precision: 'float64' });

  it('does as well, from a file, with the noise that it tells', async () => {
    const golden = join(temporaryFolder(), 'golden.safetensors');
    const dump = openFixtureDump('tiny-llama-rope3-f16');
    const ids = [...dump.tensors.get('input_ids')!.read()];
    await writeTrace(golden, model, ids, { capture: 'all', steps: 3, noiseOf: exact });
    const [byFile, byModel] = [await compare(dump, golden), await compare(dump, model)];
    expect(byFile.verdict).toBe('within noise');
    // A config settles what some names mean, and a golden has none.
    expect(byFile.tensors.length).toBeGreaterThan(byModel.tensors.length - 3);
    for (const { name, verdict, layout } of byFile.tensors)
      expect(tensorOf(byModel, name)).toMatchObject({ verdict, layout });
    expect(byFile.tokens).toMatchObject({ compared: 3, equal: 3 });
    const wrong = planted(dump, 'model.layers.1.mlp', 100, (x) => x + 0.01);
    expect(await compare(wrong, golden)).toMatchObject({
      verdict: 'different',
      first: { tensor: 'layers.1.feed_forward.output' },
    });
  });

  it('may be in float64, for dumps in float32 too', async () => {
    const truth = await trace(exact, IDS, { noiseOf: model });
    const theirs = await trace(model, IDS);
    expect(await compare(theirs, truth)).toMatchObject({
      verdict: 'within noise',
      dtype: 'float32',
      precision: 'float64',
    });
    expect(await compare(await trace(exact, IDS), truth)).toMatchObject({ verdict: 'identical', dtype: 'float64' });
    const wrong = planted(theirs, 'layers.0.output', 70, (x) => x + 1e-3);
    expect((await compare(wrong, truth)).first).toMatchObject({ tensor: 'layers.0.output', position: 1, index: [6] });
    const narrow = await trace(load('tiny-llama-rope3-f16', { precision: 'bfloat16' }), IDS);
    await expect(compare(narrow, truth)).rejects.toThrow(/--emulate bfloat16/);
  });

  it('may be one of the fixtures, which have the truth beside the logits', async () => {
    const golden = fixture('tiny-llama-rope3-f16/golden.safetensors');
    const found = await compare(openFixtureDump('tiny-llama-rope3-f16'), golden);
    // The dump's prompt is a beginning of the golden's; what it generated after that are other tokens.
    expect(tensorOf(found, 'logits').rows.map(({ position }) => position)).toEqual([0, 1, 2, 3, 4]);
    expect(found).toMatchObject({ verdict: 'within noise', tokens: { compared: 1, equal: 1 } });
    expect(found.notes).toContain('Rows from position 5 on are left out: the tokens of the two are not the same.');
  });

  it('is refused where it does not tell its noise, or that of another dtype, or was made of other tokens', async () => {
    const folder = temporaryFolder();
    const [silent, noisy] = [join(folder, 'silent.safetensors'), join(folder, 'noisy.safetensors')];
    await writeTrace(silent, model, IDS);
    await writeTrace(noisy, model, IDS, { noiseOf: exact });
    const theirs = await trace(model, IDS);
    await expect(compare(theirs, silent)).rejects.toThrow(/does not tell its noise floor.*--noise/);
    await expect(compare(theirs, fixture('austen-llama/model.safetensors'))).rejects.toThrow(/it is no trace/);
    await expect(compare(theirs, noisy, { bisect: true })).rejects.toThrow(/compare with a model/);
    const narrow = await trace(load('tiny-llama-rope3-f16', { precision: 'bfloat16' }), IDS);
    await expect(compare(narrow, noisy)).rejects.toThrow(
      /computed in bfloat16.*the noise of float32.*--emulate bfloat16/,
    );
    await expect(compare(await trace(model, [3, 1, 5]), noisy)).rejects.toThrow(/token 2 of its input_ids is 5.* 4/);
  });
});
