/** What transformers computed, held against ours: as it is, and with one value changed. */
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { loadModel } from '../../../src/model/load.js';
import { compare } from '../../../src/reference/compare/index.js';
import type { Reference } from '../../../src/reference/compare/reference.js';
import { compareWith } from '../../../src/reference/compare/tensors.js';
import { idsOf, pairFor, referenceFrom } from '../../../src/reference/compare/with-model.js';
import { isWholeNumbers } from '../../../src/reference/trace/format.js';
import { DUMPS, openFixtureDump, planted } from '../../support/comparing.js';
import { fixture } from '../../support/fixtures.js';

describe.each(DUMPS)('the dump of %s', (name, checkpoint) => {
  const model = loadModel(fixture(checkpoint));
  const dump = openFixtureDump(name);
  const reference = referenceFrom(pairFor(model, 'float32', {}), idsOf(dump, {}), () => true, {});

  it('is within noise from end to end', async () => {
    const found = await compare(dump, model, { bisect: true });
    const table = found.tensors.map(({ name: point, verdict, measures, problem }) => [
      point,
      verdict,
      measures?.ratio,
      problem,
    ]);
    expect(found.verdict, JSON.stringify(table)).toBe('within noise');
    expect(found.dtype).toBe('float32');
    expect(found.tokens).toMatchObject({ compared: 3, equal: 3, verdict: 'identical' });
    expect(found.first).toBeNull();
    expect(found.bisection!.roots).toEqual([]);
    expect(found.unknown).toEqual([]);
    // transformers expands keys of a latent and turns them in one step.
    expect(found.missing.filter((point) => !/\.(rope_key|k)$/.test(point))).toEqual([]);
  });

  test.prop([fc.nat(), fc.nat(), fc.double({ min: 0.01, max: 1, noNaN: true }), fc.boolean()], { numRuns: 60 })(
    'with one planted error is different, there',
    async (which, where, size, up) => {
      const ours = (await reference) as Reference;
      const plain = compareWith(dump, ours, { config: model.config });
      // Of a tensor that holds queries, keys and values only some may be read: others hold the rest more directly.
      const floats = plain.tensors.filter((tensor) => !isWholeNumbers(tensor.name) && !/c_attn/.test(tensor.theirName));
      const { name: point, theirName } = floats[which % floats.length]!;
      const values = dump.tensors.get(theirName)!.read();
      const seen = [...values.keys()].filter((i) => Math.abs(values[i]!) < 1e4); // not a hidden score
      const at = seen[where % seen.length]!;
      const scale = Math.sqrt(seen.reduce((sum, i) => sum + values[i]! ** 2, 0) / seen.length);
      const changed = Math.fround(values[at]! + (up ? 1 : -1) * size * scale);
      const found = compareWith(
        planted(dump, theirName, at, () => changed),
        ours,
        { config: model.config },
      );
      expect(found.verdict).toBe('different');
      // A tensor that holds several of ours (queries, keys and values) may hold the error in any of them.
      const parting = found.tensors.filter((tensor) => tensor.verdict === 'different');
      expect(parting.map((tensor) => tensor.theirName)).toEqual([theirName]);
      expect(found.first).toMatchObject({ tensor: parting[0]!.name, theirName, theirs: changed });
      if (plain.tensors.filter((tensor) => tensor.theirName === theirName).length === 1)
        expect(found.first!.tensor).toBe(point);
      expect(found.first!.ours).toBeCloseTo(values[at]!, 3);
    },
  );
});
