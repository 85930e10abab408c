import { describe, expect, it } from 'vitest';
import { compare } from '../../../src/reference/compare/index.js';
import type { Dump } from '../../../src/reference/dump/dump.js';
import { trace } from '../../../src/reference/trace/index.js';
import { changed, IDS, load, planted, tensorOf } from '../../support/comparing.js';

describe('layouts', () => {
  const model = load('tiny-llama-rope3-f16');
  /** Values [T, heads, dim] with axes and values moved. */
  const moved = (
    dump: Dump,
    name: string,
    shape: (own: readonly number[]) => number[],
    place: (t: number, h: number, k: number, own: readonly number[]) => number,
  ) =>
    changed(dump, (tensor) => {
      if (tensor.name !== name) return undefined;
      const [tokens, heads, dim] = tensor.shape as [number, number, number];
      const [values, from] = [tensor.read().slice(), tensor.read()];
      for (let t = 0; t < tokens; t++)
        for (let h = 0; h < heads; h++)
          for (let k = 0; k < dim; k++) values[place(t, h, k, tensor.shape)] = from[(t * heads + h) * dim + k]!;
      return { shape: shape(tensor.shape), values };
    });

  it('are recognised and said', async () => {
    let theirs = await trace(model, IDS, { capture: 'layers' });
    theirs = moved(
      theirs,
      'layers.0.attention.q',
      ([t, h, k]) => [1, h!, t!, k!],
      (t, h, k, [T, , K]) => (h * T! + t) * K! + k,
    );
    theirs = moved(
      theirs,
      'layers.0.attention.k',
      ([t, h, k]) => [t!, h! * k!],
      (t, h, k, [, H, K]) => (t * H! + h) * K! + k,
    );
    theirs = moved(
      theirs,
      'layers.0.attention.v',
      ([t, h, k]) => [k!, h!, t!, 1],
      (t, h, k, [, H, K]) => (t * H! + h) * K! + k,
    );
    const interleaved = (k: number, K: number) => (k < K / 2 ? 2 * k : 2 * (k - K / 2) + 1);
    for (const name of ['layers.1.attention.q_rope', 'layers.1.attention.k_rope'])
      theirs = moved(
        theirs,
        name,
        (own) => [...own],
        (t, h, k, [, H, K]) => (t * H! + h) * K! + interleaved(k, K!),
      );
    const found = await compare(theirs, model, { bisect: true });
    expect(found.verdict).toBe('identical');
    const layout = (name: string) => tensorOf(found, name).layout;
    expect(layout('layers.0.attention.q')).toContain('heads first');
    expect(layout('layers.0.attention.k')).toContain('flattened heads');
    expect(layout('layers.0.attention.v')).toContain('backwards');
    expect(layout('layers.1.attention.q_rope')).toContain('rope-interleaved');
    expect(layout('layers.1.attention.q')).toBeNull();
  });

  it('do not excuse a mistake of axes', async () => {
    const theirs = await trace(model, IDS, { capture: 'all' });
    const kept = (own: readonly number[]) => [own[0]!, own[1]! * own[2]!];
    const heads = 'layers.0.attention.heads';
    const mistakes: readonly (readonly [string, Dump])[] = [
      // Values before heads, and rows of heads that were never brought together.
      [heads, moved(theirs, heads, kept, (t, h, k, [, H, K]) => (t * K! + k) * H! + h)],
      [heads, moved(theirs, heads, kept, (t, h, k, [T, , K]) => (h * T! + t) * K! + k)],
      // Queries for keys.
      [
        'layers.0.attention.probabilities',
        moved(
          theirs,
          'layers.0.attention.probabilities',
          (own) => [...own],
          (t, h, k, [, H, S]) => (k * H! + h) * S! + t,
        ),
      ],
    ];
    for (const [name, wrong] of mistakes) {
      const found = await compare(wrong, model, { bisect: true });
      expect(found.first!.tensor).toBe(name);
      expect(found.bisection!.roots[0]!.tensor).toBe(name);
    }
  });

  it('that the shape does not settle are believed if another tensor settles them', async () => {
    const eight = await trace(model, IDS.slice(0, 8), { capture: 'layers' }); // as many tokens as query heads
    const first = (dump: Dump, name: string) =>
      moved(
        dump,
        name,
        ([t, h, k]) => [h!, t!, k!],
        (t, h, k, [T, , K]) => (h * T! + t) * K! + k,
      );
    const alone = await compare(first(eight, 'layers.0.attention.q'), model);
    expect(alone.verdict).toBe('suspicious');
    expect(tensorOf(alone, 'layers.0.attention.q').problem).toMatch(/heads first; dump another number of tokens/);
    const both = first(first(eight, 'layers.0.attention.q'), 'layers.0.attention.k'); // two key heads
    expect((await compare(both, model)).verdict).toBe('identical');
  });

  it('are not guessed by what is not a number', async () => {
    const eight = await trace(model, IDS.slice(0, 8), { capture: 'layers' });
    const name = 'layers.0.attention.k';
    const theirs = moved(
      eight,
      name,
      ([t, h, k]) => [h!, t!, k!],
      (t, h, k, [T, , K]) => (h * T! + t) * K! + k,
    );
    const found = await compare(
      planted(theirs, name, (1 * 8 + 5) * 16 + 3, () => Number.NaN),
      model,
    );
    expect(found.first).toMatchObject({ tensor: name, position: 5, head: 1, index: [1, 3] });
  });

  it('that hold nothing of ours are a difference, with both shapes', async () => {
    const theirs = changed(await trace(model, IDS, { capture: 'layers' }), ({ name }) =>
      name === 'layers.0.output' ? { shape: [20, 63], values: new Float32Array(20 * 63) } : undefined,
    );
    const found = await compare(theirs, model);
    expect(tensorOf(found, 'layers.0.output')).toMatchObject({ verdict: 'different', measures: null, worst: null });
    expect(tensorOf(found, 'layers.0.output').problem).toMatch(/\[20, 63\].*\[20, 64\]/);
  });

  it('of rows: logits of the last token, a shorter run, and chosen positions', async () => {
    const theirs = await trace(model, IDS, { capture: 'all' });
    const logits = theirs.tensors.get('logits')!.read();
    const last = changed(theirs, ({ name }) =>
      name === 'logits' ? { shape: [1, 256], values: logits.slice(-256) } : name === 'input_ids' ? undefined : null,
    );
    expect(await compare(last, model)).toMatchObject({ verdict: 'identical' });
    const some = await trace(model, IDS, { capture: 'all', positions: [2, 7, 8] });
    const found = await compare(some, model);
    expect(found.verdict).toBe('identical');
    expect(tensorOf(found, 'layers.1.attention.scores').rows.map(({ position }) => position)).toEqual([2, 7, 8]);
  });
});
