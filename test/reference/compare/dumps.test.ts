import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compare } from '../../../src/reference/compare/index.js';
import type { Dump } from '../../../src/reference/dump/dump.js';
import { dumpOf } from '../../../src/reference/dump/in-memory.js';
import { readNameMap } from '../../../src/reference/dump/name-map.js';
import { trace } from '../../../src/reference/trace/index.js';
import { changed, IDS, load, planted, tensorOf } from '../../support/comparing.js';
import { temporaryFolder } from '../../support/fixtures.js';

describe('what a dump may lack or have too much of', () => {
  const model = load('tiny-llama-rope3-f16');

  it('NaN is different, where it is', async () => {
    const theirs = planted(await trace(model, IDS), 'layers.1.attention.v', 5 * 32 + 17, () => Number.NaN);
    const found = await compare(theirs, model);
    expect(found.first).toMatchObject({ tensor: 'layers.1.attention.v', position: 5, head: 1, index: [1, 1] });
    expect(found.tensors.filter(({ verdict }) => verdict === 'different')).toHaveLength(1);
  });

  it('logits alone, with tokens given', async () => {
    const logits = (await trace(model, IDS, { capture: 'logits' })).tensors.get('logits')!;
    const theirs = dumpOf({ logits: { shape: logits.shape, data: logits.read() } });
    await expect(compare(theirs, model)).rejects.toThrow(/no tensor input_ids.*--ids/);
    expect(await compare(theirs, model, { ids: IDS })).toMatchObject({ verdict: 'identical' });
    const other = dumpOf({
      input_ids: { shape: [2], data: [1, 2] },
      logits: { shape: logits.shape, data: logits.read() },
    });
    await expect(compare(other, model, { ids: IDS })).rejects.toThrow(/not the tokens that were given/);
  });

  it('nothing that is known is no agreement', async () => {
    const theirs = dumpOf({ input_ids: { shape: [2], data: [1, 2] }, mystery: { shape: [2], data: [1, 2] } });
    await expect(compare(theirs, model)).rejects.toThrow(
      /nothing can be compared: not known is what mystery means \(nearest: .*--map/,
    );
    await expect(compare(dumpOf({}), model, { ids: [1] })).rejects.toThrow(/holds no tensor/);
  });

  it('some tensors of 16 bits among others are said', async () => {
    const theirs = changed(await trace(model, IDS), ({ name, read }) =>
      name === 'layers.0.output' ? { values: read().map((x) => Math.round(x) / 4) } : undefined,
    );
    const found = await compare(theirs, model);
    expect(found.dtype).toBe('float32');
    expect(found.notes.join()).toMatch(/1 of their tensors have values of 16 bits.*layers\.0\.output.*--dtype/);
  });

  it('tokens and positions under names of others, or of a table', async () => {
    const { tensors } = await trace(model, IDS, { capture: 'logits', positions: [3, 5] });
    const logits = { shape: [2, 256], data: tensors.get('logits')!.read() };
    const ids = { shape: [1, IDS.length], data: IDS };
    const theirs = dumpOf({ prompt_ids: ids, position_ids: { shape: [2], data: [3, 5] }, logits });
    const found = await compare(theirs, model);
    expect(found.verdict).toBe('identical');
    expect(tensorOf(found, 'logits').rows.map(({ position }) => position)).toEqual([3, 5]);
    const mapped = dumpOf({ what_was_fed: ids, where: { shape: [2], data: [3, 5] }, logits });
    const map = (name: string) => ({ what_was_fed: 'input_ids', where: 'positions' })[name] ?? null;
    expect((await compare(mapped, model, { map })).verdict).toBe('identical');
    const batch = dumpOf({ input_ids: { shape: [2, 10], data: IDS }, logits });
    await expect(compare(batch, model)).rejects.toThrow(/input_ids has shape \[2, 10\]; expected one sequence/);
  });

  it('a name that says it is rotated is nothing else', async () => {
    const theirs = await trace(model, IDS, { capture: 'layers' });
    const plain = theirs.tensors.get('layers.0.attention.q')!;
    const named = changed(theirs, ({ name }) =>
      name === 'layers.0.attention.q_rope'
        ? { name: 'model.layers.0.self_attn.q_rope', values: plain.read() }
        : name === 'layers.0.attention.q'
          ? null
          : undefined,
    );
    expect((await compare(named, model)).first).toMatchObject({ tensor: 'layers.0.attention.q_rope', position: 1 });
  });

  it('decimals are no float64', async () => {
    const theirs = await trace(model, IDS, { capture: 'layers' });
    const decimals = changed(theirs, ({ read, dtype }) =>
      dtype === 'F32' ? { values: Float64Array.from(read(), (x) => Number(x.toFixed(7))) } : undefined,
    );
    const found = await compare(decimals, model, { bisect: true });
    expect(found).toMatchObject({ dtype: 'float32', verdict: 'within noise', bisection: { roots: [] } });
    expect(found.notes[0]).toMatch(/judged as float32 \(--dtype float64/);
    expect((await compare(decimals, model, { dtype: 'float64' })).verdict).toBe('different');
  });

  it('weights of experts alone, before them, or after them', async () => {
    const experts = load('tiny-deepseek-v3-bf16');
    const theirs = await trace(experts, IDS, { capture: 'layers' });
    const flipped = changed(theirs, ({ name, shape, read }) => {
      if (!name.endsWith('router.weights')) return undefined;
      const values = read().slice();
      for (let r = 0; r < values.length; r += shape[1]!) values.subarray(r, r + shape[1]!).reverse();
      return { values };
    });
    const order = (dump: Dump) => ({ ...dump, tensors: new Map([...dump.tensors].reverse()) });
    for (const dump of [flipped, order(flipped)]) {
      expect((await compare(dump, experts)).first!.tensor).toBe('layers.1.router.weights');
    }
    const alone = changed(flipped, ({ name }) => (name.endsWith('router.experts') ? null : undefined));
    expect((await compare(alone, experts)).verdict).toBe('identical');
  });

  it('a tensor may be left out', async () => {
    const theirs = planted(await trace(model, IDS), 'layers.1.attention.v', 0, () => 9);
    expect((await compare(theirs, model, { skip: (name) => name.endsWith('.v') })).verdict).toBe('identical');
  });

  it('positions that come twice are refused', async () => {
    const twice = dumpOf({
      input_ids: { shape: [2], data: [1, 2] },
      positions: { shape: [2], data: [1, 1] },
      logits: { shape: [2, 256], data: new Float32Array(512) },
    });
    await expect(compare(twice, model)).rejects.toThrow(/positions more than once/);
  });

  it('names by a table of the user', async () => {
    const named = changed(await trace(model, IDS), ({ name }) =>
      name.endsWith('attention.q')
        ? { name: name.replace('layers.', 'block').replace('.attention.q', '/Q') }
        : undefined,
    );
    expect((await compare(named, model)).unknown).toEqual(['block0/Q', 'block1/Q']);
    const file = join(temporaryFolder(), 'map.json');
    writeFileSync(file, '{"block{i}/Q": "layers.{i}.attention.q"}');
    const found = await compare(named, model, { map: readNameMap(file) });
    expect(found.unknown).toEqual([]);
    expect(tensorOf(found, 'layers.1.attention.q').theirName).toBe('block1/Q');
  });

  it('experts in another order are the same choice; another expert is not, unless the router was near a tie', async () => {
    const experts = load('tiny-deepseek-v3-bf16');
    const theirs = await trace(experts, IDS);
    const reversed = changed(theirs, ({ name, shape, read }) => {
      if (!/router\.(experts|weights)$/.test(name)) return undefined;
      const values = read().slice();
      for (let r = 0; r < values.length; r += shape[1]!) values.subarray(r, r + shape[1]!).reverse();
      return { values };
    });
    expect(await compare(reversed, experts)).toMatchObject({ verdict: 'identical' });
    const point = 'layers.1.router.experts';
    const chosen = theirs.tensors.get(point)!.read();
    const unused = [...Array(8).keys()].filter((e) => !chosen.subarray(0, 3).includes(e));
    const other = await compare(
      planted(theirs, point, 0, () => unused.at(-1)!),
      experts,
    );
    expect(tensorOf(other, point).verdict).toBe('different');
    expect(
      tensorOf(other, point)
        .rows.filter(({ verdict }) => verdict === 'different')
        .map(({ position }) => position),
    ).toEqual([0]);
  });
});
