import { describe, expect, it } from 'vitest';
import { argmax } from '../../../src/generate/sampler.js';
import { assemble } from '../../../src/model/load.js';
import { compare } from '../../../src/reference/compare/index.js';
import { dumpOf } from '../../../src/reference/dump/in-memory.js';
import { trace } from '../../../src/reference/trace/index.js';
import { changed, IDS, load } from '../../support/comparing.js';

describe('streams of tokens', () => {
  const model = load('austen-llama');

  it('differ at the first token that ours would not have chosen', async () => {
    const theirs = await trace(model, IDS, { capture: 'logits', steps: 8 });
    const ids = [...theirs.tensors.get('generated_ids')!.read()];
    const wrong = changed(theirs, ({ name }) =>
      name === 'generated_ids'
        ? { values: Float64Array.from(ids.map((id, i) => (i === 5 ? (id + 1) % 1024 : id))) }
        : name === 'logits'
          ? null
          : undefined,
    );
    const found = await compare(wrong, model);
    expect(found.verdict).toBe('different');
    expect(found.tokens).toMatchObject({
      compared: 8,
      first: { step: 5, position: IDS.length + 5, theirs: (ids[5]! + 1) % 1024, ours: ids[5], ambiguous: false },
    });
  });

  it('that differ at a near tie are ambiguous, and no difference', async () => {
    // The head's row of the second likeliest token, in place of that of the likeliest, but for a rounding.
    const plain = await trace(model, IDS, { capture: 'all' });
    const logits = plain.tensors.get('logits')!.read();
    const row = logits.subarray((IDS.length - 1) * 1024);
    const best = argmax(row);
    const second = argmax(row.map((x, i) => (i === best ? Number.NEGATIVE_INFINITY : x)));
    const theirs = dumpOf({
      input_ids: { shape: [IDS.length], data: IDS },
      generated_ids: { shape: [1], data: [second] },
    });
    expect((await compare(theirs, model)).tokens).toMatchObject({ equal: 0, verdict: 'different', ambiguous: 0 });
    const { config, weights, options, files } = model;
    const output = weights.head.output;
    const bits = output.weight.bits.slice();
    const [from, to] = [best, second].map((id) => id * output.weight.columns) as [number, number];
    bits.copyWithin(to, from, from + output.weight.columns);
    const head = { ...weights.head, output: { ...output, weight: { ...output.weight, bits } } };
    const tied = assemble(config, { ...weights, head }, options, files);
    const exact = load('austen-llama', { precision: 'float64' });
    const tiedExact = assemble(config, { ...exact.weights, head }, exact.options, files);
    const later = Math.max(best, second);
    const theirsTied = dumpOf({
      input_ids: { shape: [IDS.length], data: IDS },
      generated_ids: { shape: [1], data: [later] },
    });
    const found = await compare(theirsTied, tied, { noiseOf: tiedExact });
    expect(found.tokens).toMatchObject({
      equal: 0,
      verdict: 'within noise',
      ambiguous: 1,
      first: { ambiguous: true, margin: 0 },
    });
    expect(found.verdict).toBe('within noise');
  });
});
