import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModel } from '../src/model/load.js';
import { forward } from '../src/model/transformer.js';
import { writeTrace } from '../src/reference/trace/index.js';
import { flat } from '../src/tensor/tensor.js';
import { matchers } from '../src/vitest.js';
import { fixture, temporaryFolder } from './support/fixtures.js';

expect.extend(matchers);

const model = loadModel(fixture('tiny-llama-rope3-f16'));
const exact = loadModel(fixture('tiny-llama-rope3-f16'), { precision: 'float64' });
const IDS = [1, 2, 3, 4];

async function logitsOf(own: typeof model) {
  return flat(await forward(own, [{ ids: IDS, cache: own.components.newCache() }], { logits: 'all' }));
}

describe('toMatchGolden', () => {
  it('takes tensors by name, dumps and paths, against a model or a golden', async () => {
    const logits = { shape: [4, 256], data: await logitsOf(model) };
    const input_ids = { shape: [4], data: IDS };
    await expect({ input_ids, logits }).toMatchGolden(model);
    const golden = join(temporaryFolder(), 'golden.safetensors');
    await writeTrace(golden, model, IDS, { noiseOf: exact });
    await expect({ logits }).toMatchGolden(golden, { strict: true });
    await expect(golden).toMatchGolden(golden);
    const wrong = { shape: [4, 256], data: logits.data.map((x, i) => (i === 700 ? x + 0.01 : x)) };
    await expect({ logits: wrong }).not.toMatchGolden(golden);
    await expect(expect({ logits: wrong }).toMatchGolden(golden)).rejects.toThrow(
      /different: first at logits, position 2, token 188: theirs .*, ours .*, noise/,
    );
    await expect(
      expect(fixture('dumps/wrong-port.safetensors')).toMatchGolden(model, { bisect: true }),
    ).rejects.toThrow(/root cause: layers\.0\.attention\.k_rope/);
  });

  it('takes suspicious ones unless it is strict', async () => {
    const data = (await logitsOf(model)).map((x) => x * (1 + 1e-5));
    const theirs = { input_ids: { shape: [4], data: IDS }, logits: { shape: [4, 256], data } };
    await expect(theirs).toMatchGolden(model);
    await expect(theirs).not.toMatchGolden(model, { strict: true });
  });
});

describe('toBeWithinNoise', () => {
  it('takes what lies as near as roundings reach, and nothing else', async () => {
    const [ours, truth] = [await logitsOf(model), await logitsOf(exact)];
    expect(ours).toBeWithinNoise(ours, truth);
    expect(Float32Array.from(truth)).toBeWithinNoise(ours, truth, { row: 256 });
    const wrong = ours.map((x, i) => (i === 300 ? x + 1e-3 : x));
    expect(wrong).not.toBeWithinNoise(ours, truth, { row: 256 });
    expect(wrong).toBeWithinNoise(ours, truth, { dtype: 'bfloat16' });
    expect(() => expect(wrong).toBeWithinNoise(ours, truth, { row: 256 })).toThrow(
      /within the noise of float32, got .* x the noise, at row 1, index 44: /,
    );
    expect(ours.map(() => Number.NaN)).not.toBeWithinNoise(ours, truth);
    expect(() => expect(ours).toBeWithinNoise(ours, truth.subarray(1))).toThrow(/of one length/);
    expect(() => expect(ours).toBeWithinNoise(ours, truth, { row: 3 })).toThrow(/rows of 3/);
  });
});
