/** Models whose candidates, together, are of every mutant, and what runs of them compute. */
import { expect } from 'vitest';
import type { KvDtype } from '../../attention/cache/codec/format.js';
import { type LoadOptions, loadModel, type Model } from '../../src/model/load.js';
import type { Mutation } from '../../src/reference/mutants/mutant.js';
import { type Computed, type MutantRun, runMutated } from '../../src/reference/mutants/run.js';
import { inNamedForm } from '../../src/reference/trace/index.js';
import { firstDifference } from './bits.js';
import { fixture, goldenOptions } from './fixtures.js';

export const LAW_MODELS: readonly (readonly [checkpoint: string, kvDtype: KvDtype | 'auto'])[] = [
  ['families/gpt-oss-mxfp4', 'auto'],
  ['tiny-deepseek-v3-bf16', 'auto'],
  ['families/bloom-post-residual', 'auto'],
  ['families/gemma3-text', 'auto'],
  ['families/opt', 'auto'],
  ['families/cohere2', 'auto'],
  ['families/gemma2', 'auto'],
  ['families/qwen2-moe', 'auto'],
  ['tiny-llama-rope3-f16', 'int4'],
  ['families/gptj', 'auto'],
  ['families/llama4-text', 'auto'],
  ['families/minicpm3', 'auto'],
  ['tiny-llama-rope3-f16', 'fp8_e4m3'],
  ['families/exaone4', 'auto'],
  ['families/falcon-alibi', 'auto'],
  ['families/mpt-clip', 'auto'],
  ['families/opt-post-norm', 'auto'],
];

/** With pages that a few tokens fill. */
export function lawModel(checkpoint: string, options: LoadOptions = {}): Model {
  const model = loadModel(fixture(checkpoint), { ...goldenOptions(checkpoint), pageSize: 4, ...options });
  return inNamedForm(model, { capture: 'all' });
}

/** Tokens of any vocabulary, none of them alike its neighbour. */
export function lawIds({ config: { vocabulary } }: Model, count: number): number[] {
  return Array.from({ length: count }, (_, i) => 3 + ((7 * i * i + 5 * i) % (vocabulary - 4)));
}

export async function computed(
  model: Model,
  mutation: Mutation,
  ids: readonly number[],
  more: Partial<MutantRun> = {},
): Promise<Computed> {
  return runMutated(model, mutation, { ids, passes: [ids.length], keeps: isJudged, ...more });
}

/** Not scores and probabilities, which some mistakes do not tell. */
function isJudged(point: string): boolean {
  return !/\.attention\.(scores|probabilities)$/.test(point);
}

/** The first point, of those chosen, whose first rows differ in a bit; null: none does. */
export function firstUnlike(
  { points, firstRow }: Computed,
  other: Computed,
  { of = () => true, rows }: { readonly of?: (point: string) => boolean; readonly rows?: number } = {},
): string | null {
  const names = [...points.keys()].filter(of);
  if ([...other.points.keys()].filter(of).join() !== names.join()) return 'other points';
  if (firstRow !== other.firstRow) return 'other rows';
  const unlike = names.find((name) => {
    const [{ values, width }, their] = [points.get(name)!, other.points.get(name)!];
    const end = rows === undefined ? values.length : rows * width;
    return width !== their.width || firstDifference(values.subarray(0, end), their.values.subarray(0, end)) >= 0;
  });
  return unlike ?? null;
}

export function expectSamePoints(found: Computed, expected: Computed, what: string): void {
  expect(firstUnlike(found, expected), what).toBeNull();
}
