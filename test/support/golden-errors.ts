import { loadModel } from '../../src/model/load.js';
import { makeGolden } from '../../src/reference/golden.js';
import type { Floats, Precision } from '../../src/tensor/tensor.js';
import { fixture, type GoldenCase, readGolden } from './fixtures.js';

export interface GoldenReport {
  readonly name: string;
  readonly family: string;
  /** Who recorded the golden. */
  readonly source: string;
  /** Error against float64 truth, over all logits. */
  readonly ours: Errors;
  readonly huggingFace: Errors;
  /** Largest error of our float64 pass, over the largest logit. */
  readonly float64: number;
  readonly tokensEqual: number;
  readonly tokens: number;
  readonly smallestMargin: number;
}

interface Errors {
  readonly rms: number;
  readonly max: number;
}

/** Runs a fixture's prompt and its 64 greedy tokens in both precisions, against Hugging Face's float32 and the truth. */
export async function goldenErrors({ name, checkpoint, options, source }: GoldenCase): Promise<GoldenReport> {
  const golden = readGolden(name);
  const { inputIds, generatedIds, truth, float32, margins } = golden;
  const run = async (precision: Precision) => {
    const model = loadModel(fixture(checkpoint), { ...options, precision });
    return {
      model,
      ...(await makeGolden(model, inputIds, model.components.newCache(), { steps: generatedIds.length })),
    };
  };
  const [single, double] = [await run('float32'), await run('float64')];
  return {
    name,
    family: single.model.config.family,
    source,
    ours: errors(single.logits, truth),
    huggingFace: errors(float32, truth),
    float64: errors(double.logits, truth).max / truth.reduce((max, logit) => Math.max(max, Math.abs(logit)), 0),
    tokensEqual: single.generatedIds.filter((id, i) => id === generatedIds[i]).length,
    tokens: generatedIds.length,
    smallestMargin: Math.min(...margins),
  };
}

function errors(found: Floats, truth: Float64Array): Errors {
  if (found.length !== truth.length) throw new Error(`expected ${truth.length} logits, got ${found.length}`);
  let [squares, max] = [0, 0];
  truth.forEach((logit, i) => {
    const error = Math.abs(found[i]! - logit);
    squares += error * error;
    max = Math.max(max, error); // which keeps a NaN
  });
  return { rms: Math.sqrt(squares / truth.length), max };
}
