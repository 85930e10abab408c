import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type LoadOptions, loadModel } from '../../../src/model/load.js';
import { forward } from '../../../src/model/transformer.js';
import type { Dump } from '../../../src/reference/dump/dump.js';
import { openDump } from '../../../src/reference/dump/open.js';
import { makeGolden } from '../../../src/reference/golden.js';
import { type TraceOptions, trace, writeTrace } from '../../../src/reference/trace/index.js';
import { flat } from '../../../src/tensor/tensor.js';
import { expectSameBits } from '../../support/bits.js';
import { FAMILY_CHECKPOINTS, fixture, goldenOptions, temporaryFolder } from '../../support/fixtures.js';
import { living } from '../../support/heap.js';

const IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5];
const modelOf = (name: string, options: LoadOptions = {}) => loadModel(fixture(name), options);
const valuesOf = ({ tensors }: Dump, name: string) => tensors.get(name)!.read();

/** Names of tensors that have a row for each token. */
function rowNames({ tensors }: Dump): string[] {
  return [...tensors.keys()].filter((name) => !/cache\.|block_table|_ids$|^margins|^noise/.test(name));
}

describe('a trace', () => {
  it.each([
    'tiny-llama-rope3-f16',
    'tiny-gpt-oss-bf16',
    'tiny-deepseek-v3-bf16',
    'families/gemma2',
    'families/llama4-text',
  ])('of %s is the same to the bit in a file, in chunks, in pages and without a cache', async (name) => {
    const options: TraceOptions = { capture: 'all', steps: 3 };
    const whole = await trace(modelOf(name), IDS, options);
    const ways: readonly (readonly [LoadOptions, TraceOptions])[] = [
      [{}, { ...options, prefillChunk: 4 }],
      [{ cache: 'paged', pageSize: 4 }, options],
      [{ cache: 'none' }, options],
    ];
    const file = join(temporaryFolder(), 'trace.safetensors');
    await writeTrace(file, modelOf(name), IDS, options);
    const written = openDump(file);
    const others = [written, ...(await Promise.all(ways.map(([run, own]) => trace(modelOf(name, run), IDS, own))))];
    for (const other of others) {
      for (const point of rowNames(whole)) expectSameBits(valuesOf(other, point), valuesOf(whole, point));
    }
    written.close();
  });

  it.each(FAMILY_CHECKPOINTS)('of %s does not change the pass', async (name) => {
    const model = modelOf(name, goldenOptions(name));
    const traced = await trace(model, IDS, { capture: 'layers' });
    // Latent attention is traced in its naive form, which is another order of sums.
    const latent = model.config.layers[0]!.attention.kind === 'latent';
    const plain = latent ? modelOf(name, { ...goldenOptions(name), attention: 'mla-naive' }) : model;
    const logits = await forward(plain, [{ ids: IDS, cache: plain.components.newCache() }], { logits: 'all' });
    expectSameBits(valuesOf(traced, 'logits'), flat(logits));
  });

  it('has the tokens and margins of a golden, and a row for each token that was fed', async () => {
    const model = modelOf('austen-llama');
    const traced = await trace(model, IDS, { capture: 'logits', steps: 4 });
    const golden = await makeGolden(model, IDS, model.components.newCache(), { steps: 4 });
    expect([...valuesOf(traced, 'generated_ids')]).toEqual(golden.generatedIds);
    expectSameBits(valuesOf(traced, 'margins'), golden.margins);
    expectSameBits(valuesOf(traced, 'logits'), golden.logits);
    expect([...valuesOf(traced, 'positions')]).toEqual(Array.from({ length: IDS.length + 3 }, (_, i) => i));
    expect([...traced.tensors.keys()].sort()).toEqual(['generated_ids', 'input_ids', 'logits', 'margins', 'positions']);
  });

  it('of some layers and positions has the rows of the whole one', async () => {
    const whole = await trace(modelOf('tiny-mistral-f16'), IDS, { capture: 'all', steps: 2 });
    const some = await trace(modelOf('tiny-mistral-f16'), IDS, {
      capture: 'all',
      steps: 2,
      layers: [1],
      positions: [2, 3, 11],
    });
    expect([...valuesOf(some, 'positions')]).toEqual([2, 3, 11]);
    const names = rowNames(some).filter((name) => name !== 'positions');
    expect(names.filter((name) => name.startsWith('layers.') && !name.startsWith('layers.1.'))).toEqual([]);
    expect(names.length).toBeGreaterThan(12);
    for (const name of names) {
      const [all, chosen] = [valuesOf(whole, name), valuesOf(some, name)];
      const width = chosen.length / 3;
      for (const [row, position] of [2, 3, 11].entries()) {
        expectSameBits(
          chosen.subarray(row * width, (row + 1) * width),
          all.subarray(position * width, (position + 1) * width),
        );
      }
    }
  });

  it('has scores that make its probabilities, and probabilities that make its heads', async () => {
    const traced = await trace(modelOf('tiny-mistral-f16'), [...IDS, ...IDS, ...IDS], { capture: 'all' });
    const read = (name: string) => valuesOf(traced, `layers.1.attention.${name}`);
    const [scores, probabilities, v, heads] = [read('scores'), read('probabilities'), read('v'), read('heads')];
    const [tokens, queryHeads, groups, dim] = [33, 8, 2, 12];
    for (let t = 0; t < tokens; t++) {
      for (let h = 0; h < queryHeads; h++) {
        const row = (t * queryHeads + h) * tokens;
        const [own, weights] = [scores.subarray(row, row + tokens), probabilities.subarray(row, row + tokens)];
        const seen = [...own.keys()].filter((key) => own[key] !== Number.NEGATIVE_INFINITY);
        expect(seen).toEqual(Array.from({ length: Math.min(t + 1, 16) }, (_, i) => t - Math.min(t, 15) + i)); // a window of 16
        const total = seen.reduce((sum, key) => sum + Math.exp(own[key]!), 0);
        for (const key of seen) expect(weights[key]).toBeCloseTo(Math.exp(own[key]!) / total, 5);
        for (let i = 0; i < dim; i++) {
          const g = Math.floor(h / (queryHeads / groups));
          const sum = [...weights].reduce((all, weight, key) => all + weight * v[(key * groups + g) * dim + i]!, 0);
          expect(heads[(t * queryHeads + h) * dim + i]).toBeCloseTo(sum, 5);
        }
      }
    }
  });

  it('has what the cache holds at the end: blocks, their rows, and the block table', async () => {
    const paged = modelOf('tiny-llama-rope3-f16', { cache: 'paged', pageSize: 4 });
    const traced = await trace(paged, IDS, { capture: 'all', steps: 3 });
    expect([...valuesOf(traced, 'block_table')]).toHaveLength(4); // 13 tokens in pages of 4
    for (const layer of [0, 1]) {
      const read = (name: string) => valuesOf(traced, `layers.${layer}.${name}`);
      expect([...read('cache.block_rows')]).toEqual([4, 4, 4, 1]);
      expect([...read('cache.positions')]).toEqual(Array.from({ length: 13 }, (_, i) => i));
      expectSameBits(read('cache.k'), read('attention.k_rope'));
      expectSameBits(read('cache.v'), read('attention.v'));
    }
    const ring = await trace(modelOf('tiny-mistral-f16', { cache: 'ring' }), [...IDS, ...IDS], {
      capture: 'all',
      prefillChunk: 1,
    });
    expect(valuesOf(ring, 'layers.0.cache.positions').length).toBeLessThan(22);
  });

  it('has the distance of each row to the other precision as its noise', async () => {
    const [model, exact] = [modelOf('tiny-llama-rope3-f16'), modelOf('tiny-llama-rope3-f16', { precision: 'float64' })];
    const noisy = await trace(model, IDS, { capture: 'all', steps: 2, noiseOf: exact });
    const fed = [...IDS, ...[...valuesOf(noisy, 'generated_ids')].slice(0, -1)];
    const truth = await trace(exact, fed, { capture: 'all' });
    for (const name of rowNames(noisy).filter((point) => point !== 'positions')) {
      const [ours, theirs, noise] = [valuesOf(noisy, name), valuesOf(truth, name), valuesOf(noisy, `noise.${name}`)];
      const width = ours.length / fed.length;
      for (let r = 0; r < fed.length; r++) {
        const at = Array.from({ length: width }, (_, i) => r * width + i);
        const differences = at.map((i) => (ours[i] === theirs[i] ? 0 : Math.abs(ours[i]! - theirs[i]!)));
        const rms = Math.sqrt(differences.reduce((sum, d) => sum + d * d, 0) / width);
        expect(noise[2 * r]).toBe(Math.fround(rms));
        expect(noise[2 * r + 1]).toBe(Math.fround(Math.max(...differences)));
      }
    }
    expect(Math.max(...valuesOf(noisy, 'noise.logits'))).toBeGreaterThan(0);
    expect(Math.max(...valuesOf(noisy, 'noise.logits'))).toBeLessThan(1e-5);
  });

  it('goes to its file as it comes: little of it is in memory', async () => {
    const model = modelOf('tiny-llama-rope3-f16');
    const ids = Array.from({ length: 320 }, (_, i) => (i * 7) % 256);
    const run = async (write: (options: TraceOptions) => Promise<unknown>) => {
      const before = await living();
      let [most, layers] = [0, 0];
      const pause = async () => {
        if (++layers % 16 === 0) most = Math.max(most, (await living()) - before);
      };
      await write({ capture: 'all', prefillChunk: 16, pause });
      return most;
    };
    const file = join(temporaryFolder(), 'trace.safetensors');
    const inFile = await run((options) => writeTrace(file, model, ids, options));
    const inMemory = await run((options) => trace(model, ids, options));
    const bytes = statSync(file).size;
    expect(inMemory).toBeGreaterThan(0.9 * bytes); // what is measured can be told
    expect(inFile).toBeLessThan(0.3 * bytes);
  });

  it('shows a splice what it recorded, and goes on with what that says', async () => {
    const model = modelOf('tiny-llama-rope3-f16');
    const plain = await trace(model, IDS);
    const spliced = await trace(model, IDS, {
      splice(point, value) {
        if (point !== 'layers.1.attention.residual') return value;
        const zero = { ...value, data: value.data.slice().fill(0) };
        return Object.setPrototypeOf(zero, Object.getPrototypeOf(value)) as typeof value;
      },
    });
    expectSameBits(valuesOf(spliced, 'layers.1.attention.residual'), valuesOf(plain, 'layers.1.attention.residual'));
    expect(valuesOf(spliced, 'layers.1.feed_forward.input').every((x) => x === 0)).toBe(true);
  });

  it('refuses layers and positions that there are not, and leaves no half of a file', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'trace.safetensors');
    const model = modelOf('tiny-llama-rope3-f16');
    const refusals: readonly (readonly [TraceOptions, readonly number[], RegExp])[] = [
      [{ layers: [2] }, IDS, /^layers \(--layers\): the model has 0 to 1, got 2\.$/],
      [{ positions: [11] }, IDS, /^positions \(--positions\): the run has 0 to 10, got 11\.$/],
      [{ positions: [] }, IDS, /^positions \(--positions\): none is chosen\.$/],
      [{ positions: [3, 1] }, IDS, /in ascending order, each once/],
      [{}, [256], /outside the vocabulary/],
      [{}, [], /at least one token/],
    ];
    for (const [options, ids, message] of refusals)
      await expect(writeTrace(file, model, ids, options)).rejects.toThrow(message);
    const stopped = writeTrace(file, model, IDS, { pause: () => Promise.reject(new Error('stopped')) });
    await expect(stopped).rejects.toThrow('stopped');
    expect(existsSync(file)).toBe(false);
    expect(readdirSync(folder)).toEqual([]);
  });
});
