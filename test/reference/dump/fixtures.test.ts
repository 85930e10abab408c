/** The dumps among the fixtures, which the committed dumper wrote: every tensor is known, and fits the model. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModel } from '../../../src/model/load.js';
import { forward } from '../../../src/model/transformer.js';
import { layoutsOf } from '../../../src/reference/dump/layout.js';
import { matchNames } from '../../../src/reference/dump/names.js';
import { openDump } from '../../../src/reference/dump/open.js';
import { flat } from '../../../src/tensor/tensor.js';
import { FIXTURES, fixture } from '../../support/fixtures.js';

// But the one of a port with a mistake.
const NAMES = readdirSync(join(FIXTURES, 'dumps'))
  .map((file) => file.replace('.safetensors', ''))
  .filter((name) => name !== 'wrong-port');

function opened(name: string) {
  const checkpoint = [fixture(name), fixture(join('families', name))].find((folder) => existsSync(folder))!;
  return { dump: openDump(join(FIXTURES, 'dumps', `${name}.safetensors`)), model: loadModel(checkpoint) };
}

describe.each(NAMES)('the dump of %s', (name) => {
  it('has names that are all known, and tells its own from ours', () => {
    const { dump, model } = opened(name);
    const { pairs, absent, unknown } = matchNames(dump.tensors.keys(), () => true, { config: model.config });
    expect([absent, unknown]).toEqual([[], []]);
    for (let i = 0; i < model.config.layers.length; i++) {
      for (const part of ['input', 'heads', 'scores', 'probabilities', 'output', 'residual']) {
        expect(pairs.map(({ ours }) => ours)).toContain(`layers.${i}.attention.${part}`);
      }
    }
    expect(dump.metadata).toMatchObject({ format: 'touchstone-dump-1', dtype: 'float32', model: name });
    dump.close();
  });

  it('has the logits that the model here comes to', async () => {
    const { dump, model } = opened(name);
    const values = (tensor: string) => [...dump.tensors.get(tensor)!.read()];
    const ids = [...values('input_ids'), ...values('generated_ids').slice(0, -1)];
    const ours = await forward(model, [{ ids, cache: model.components.newCache() }], { logits: 'all' });
    const [layout] = layoutsOf(dump.tensors.get('logits')!.shape, ours.shape, { axes: 'RN' });
    expect(layout!.name).toBe('a batch axis');
    const theirs = layout!.read(dump.tensors.get('logits')!.read());
    const apart = flat(ours).map((value, i) => Math.abs(value - theirs[i]!));
    expect(Math.max(...apart)).toBeLessThan(1e-4);
    expect(values('positions')).toEqual([...ids.keys()]);
    dump.close();
  });
});
