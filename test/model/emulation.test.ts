import { describe, expect, it } from 'vitest';
import { type LoadOptions, loadModel } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import { emulationOf, settlingOf } from '../../src/tensor/emulated.js';
import { flat } from '../../src/tensor/tensor.js';
import { emulationErrors, loadEmulated, nearTie, type Recorded, readEmulation } from '../support/emulation-errors.js';
import { fixture } from '../support/fixtures.js';

const RECORDS = readEmulation();

describe.each(RECORDS.filter(({ own }) => own))('$name in $dtype against transformers', (record) => {
  it('is nearer to it than the dtype is to the truth, and picks the same tokens but for near ties', async () => {
    const { floor, ours, apart, own } = await emulationErrors(record);
    const { cached, turned, equal } = own!;
    expect(apart.rms).toBeLessThan(floor.rms);
    expect(apart.max).toBeLessThanOrEqual(Math.max(floor.max, cached.max)); // of one row, as far as transformers is from itself
    expect(ours.rms / floor.rms).toBeGreaterThan(0.8); // it loses what the dtype loses
    expect(ours.rms / floor.rms).toBeLessThan(1.25);
    expect(equal).toBeGreaterThanOrEqual(46);
    for (const margin of turned) expect(margin).toBeLessThanOrEqual(nearTie(floor));
  });

  it('has the logits of the first token to the bit, before sums in another order have turned a rounding', async () => {
    expect(await firstLogits(record)).toEqual(firstRecorded(record));
  });
});

/** Those in which a sum in another order turns a rounding of the very first token, and so the rest. */
const TURNED_AT_ONCE = [
  'qwen2-max-window-layers',
  'qwen2-moe',
  'smollm3',
  'tiny-deepseek-v3-bf16',
  'tiny-llama-linear-bf16',
];

/** Whose attention transformers runs fused, rounding what is not rounded elsewhere (src/model/families/falcon.ts). */
const FUSED = ['falcon-alibi'];

describe.each(RECORDS.filter(({ own }) => !own))('$name in $dtype against transformers', (record) => {
  it('rounds where its family does', async () => {
    const { floor, apart } = await emulationErrors(record);
    const near = [...TURNED_AT_ONCE, ...FUSED].includes(record.name) ? 0.75 : 0.3;
    expect(apart.rms).toBeLessThan(near * floor.rms);
    const same = (await firstLogits(record)).every((logit, i) => Object.is(logit, firstRecorded(record)[i]));
    expect(same).toBe(!TURNED_AT_ONCE.includes(record.name));
  });
});

it('has most families to the bit', async () => {
  const families = RECORDS.filter(({ own }) => !own);
  const reports = await Promise.all(families.map(emulationErrors));
  expect(families.length).toBeGreaterThan(50);
  expect(reports.filter(({ equalLogits }) => equalLogits === 1).length).toBeGreaterThanOrEqual(40);
});

async function firstLogits({ name, dtype, inputIds }: Recorded): Promise<number[]> {
  const model = loadEmulated(name, dtype);
  return [...flat(await forward(model, [{ ids: [inputIds[0]!], cache: model.components.newCache() }]))];
}

function firstRecorded({ rows, logits }: Recorded): number[] {
  if (rows[0] !== 0) throw new Error('expected the first row');
  return [...logits.subarray(0, logits.length / rows.length)];
}

/** Prefill in chunks, then the last tokens one by one. */
async function logitsOf(name: string, options: LoadOptions, chunks: readonly number[]) {
  const model = loadModel(fixture(name), options);
  const cache = model.components.newCache();
  const ids = Array.from({ length: 40 }, (_, t) => (t * 37 + 11) % 90);
  const rows: number[][] = [];
  for (let from = 0, i = 0; from < ids.length; i++) {
    const to = Math.min(from + (chunks[i] ?? 1), ids.length);
    rows.push([...flat(await forward(model, [{ ids: ids.slice(from, to), cache }], { logits: 'all' }))]);
    from = to;
  }
  return { model, logits: rows.flat() };
}

describe.each(['bfloat16', 'float16'] as const)('%s', (precision) => {
  const names = ['austen-llama', 'tiny-mistral-f16', 'tiny-deepseek-v3-bf16', 'families/gemma2', 'families/mixtral'];

  it.each(names)('has the same bits in any chunks and cache in %s, all of them numbers of the dtype', async (name) => {
    const { logits } = await logitsOf(name, { precision }, [40]);
    const store = settlingOf(flat(await anyLogits(name, precision)))!;
    expect(logits.every((logit) => Object.is(store(logit), logit))).toBe(true);
    expect((await logitsOf(name, { precision }, [7, 20, 5])).logits).toEqual(logits);
    expect((await logitsOf(name, { precision, cache: 'paged', pageSize: 3 }, [33])).logits).toEqual(logits);
    expect((await logitsOf(name, { precision, kvDtype: 'float32' }, [33])).logits).toEqual(logits);
  });

  it('keeps what it is in every tensor, and stores rows in its own dtype', async () => {
    const { model } = await logitsOf('austen-llama', { precision }, [40]);
    expect(emulationOf((await anyLogits('austen-llama', precision)).data)).toBe(precision);
    expect(model.components.chosen).toMatchObject({ precision, kvDtype: precision });
    expect(model.components.stores.dtype).toBe(precision);
  });

  it('reads rows that are stored in another dtype as its own', async () => {
    for (const kvDtype of ['float16', 'bfloat16', 'fp8_e4m3', 'int8'] as const) {
      const model = loadModel(fixture('austen-llama'), { precision, kvDtype });
      const cache = model.components.newCache();
      await forward(model, [{ ids: [5, 6, 7, 8], cache }]);
      const rows = flat(cache.blocks(0)[0]!.read('keys'));
      expect(emulationOf(rows)).toBe(precision);
      expect([...rows]).toEqual([...rows].map(settlingOf(rows)!));
    }
  });

  it('rounds weights that are wider', () => {
    const { weights } = loadModel(fixture('tiny-llama-yarn-bias-f32'), { precision });
    const dtype = precision === 'bfloat16' ? 'BF16' : 'F16';
    const { attention } = weights.layers[0]!;
    if (attention.kind !== 'grouped') throw new Error('expected key/value heads');
    expect([weights.embedding.tokens.dtype, attention.query.weight.dtype]).toEqual([dtype, dtype]);
    const bias = attention.query.bias!;
    expect([...bias].map(settlingOf(bias)!)).toEqual([...bias]);
  });

  it('keeps the routing correction in float32, as transformers does', () => {
    const correctionOf = (options: LoadOptions) => {
      const { feedForward } = loadModel(fixture('austen-deepseek-v3'), options).weights.layers[1]!;
      return feedForward.kind === 'experts' ? feedForward.correction : null;
    };
    const kept = correctionOf({ precision })!;
    expect([emulationOf(kept), kept]).toEqual([null, correctionOf({})]);
  });

  it('expands latent attention as transformers does, unless another form is chosen', () => {
    const of = (options: LoadOptions) =>
      loadModel(fixture('tiny-deepseek-v3-bf16'), options).components.chosen.attention;
    expect(of({ precision })).toBe('mla-naive');
    expect(of({ precision, attention: 'mla' })).toBe('mla');
    expect(of({})).toBe('mla');
  });

  it.each(['flash', 'gpu'] as const)('is refused by the kernel %s', (kernel) => {
    const computes = kernel === 'flash' ? 'float32 and float64' : 'float32';
    expect(() => loadModel(fixture('austen-llama'), { precision, kernel })).toThrow(
      `Kernel ${kernel} computes in ${computes}; for precision ${precision} choose the kernel reference.`,
    );
  });
});

async function anyLogits(name: string, precision: 'bfloat16' | 'float16') {
  const model = loadModel(fixture(name), { precision });
  return forward(model, [{ ids: [5, 6], cache: model.components.newCache() }]);
}
