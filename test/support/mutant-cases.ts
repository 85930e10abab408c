/** Mistakes as another implementation would have them: computed in float64, saved in float32 or bfloat16, whole or logits alone. */
import type { KvConfig } from '../../attention/cache/codec/format.js';
import { type LoadOptions, loadModel, type Model } from '../../src/model/load.js';
import { calibrate } from '../../src/reference/calibrate.js';
import type { Dump } from '../../src/reference/dump/dump.js';
import { dumpOf, type HeldTensor } from '../../src/reference/dump/in-memory.js';
import type { Mutation } from '../../src/reference/mutants/index.js';
import { type Computed, runMutated } from '../../src/reference/mutants/run.js';
import { isScores } from '../../src/reference/trace/format.js';
import { inNamedForm } from '../../src/reference/trace/index.js';
import { planOf } from '../../src/reference/trace/plan.js';
import { roundToBfloat16 } from '../../src/tensor/dtype.js';
import { fixture, goldenOptions } from './fixtures.js';

/** A checkpoint and tokens, ready to have mistakes. */
export interface MutantSetting {
  readonly checkpoint: string;
  readonly model: Model;
  /** The same in float64. */
  readonly wide: Model;
  readonly ids: readonly number[];
  /** The prompt, then a token at a time. */
  readonly passes: readonly number[];
  /** The points of a trace [rows, ...] without scores and probabilities, and their shapes without rows. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
}

/** @param prompt how many of the tokens are fed in the first pass */
export async function settingOf(
  checkpoint: string,
  ids: readonly number[],
  prompt: number,
  options: LoadOptions = {},
): Promise<MutantSetting> {
  const load = (more: LoadOptions) =>
    inNamedForm(loadModel(fixture(checkpoint), { ...goldenOptions(checkpoint), ...options, ...more }), {
      capture: 'all',
    });
  const [model, wide] = [load({}), load({ precision: 'float64' })];
  const planned = await planOf(model, ids[0]!, { rows: 1, tokens: 1 }, { capture: 'all' });
  const shapes = planned
    .filter(({ name }) => !isScores(name))
    .map(({ name, shape }) => [name, shape.slice(1)] as const);
  const passes = [prompt, ...Array<number>(ids.length - prompt).fill(1)];
  return { checkpoint, model, wide, ids, passes, shapes: new Map(shapes) };
}

/** What a mistake computes, in float64; null: its pass cannot be made. */
export async function computedBy(
  { wide, ids, passes, shapes }: MutantSetting,
  mutation: Mutation,
): Promise<Computed | null> {
  try {
    return await runMutated(wide, mutation, { ids, passes, keeps: (point) => shapes.has(point) });
  } catch {
    return null;
  }
}

export interface DumpForm {
  readonly logitsAlone: boolean;
  readonly dtype: 'float32' | 'bfloat16';
}

export const FORMS: readonly DumpForm[] = [
  { logitsAlone: false, dtype: 'float32' },
  { logitsAlone: false, dtype: 'bfloat16' },
  { logitsAlone: true, dtype: 'float32' },
  { logitsAlone: true, dtype: 'bfloat16' },
];

/** As a file of theirs has it: the tokens, and tensors whose rows are those that were told. */
export function dumpedAs({ ids, passes, shapes }: MutantSetting, computed: Computed, form: DumpForm): Dump {
  const round = form.dtype === 'bfloat16' ? (x: number) => roundToBfloat16(Math.fround(x)) : Math.fround;
  const { firstRow } = computed;
  const points = [...computed.points].filter(([point]) => !form.logitsAlone || point === 'logits');
  const told = points.map(([point, { values, width }]): [string, HeldTensor] => {
    const own = shapes.get(point)!;
    const row = own.reduce((product, length) => product * length, 1) === width ? own : [width];
    const data = Float32Array.from(values.subarray(firstRow * width), round);
    return [point, { shape: [data.length / width, ...row], data }];
  });
  const prompt = passes[0]!;
  const rows = ids.map((_, position) => position).slice(firstRow);
  return dumpOf({
    input_ids: { shape: [prompt], data: ids.slice(0, prompt) },
    generated_ids: { shape: [ids.length - prompt + 1], data: [...ids.slice(prompt), 0] },
    ...(firstRow > 0 && { positions: { shape: [rows.length], data: rows } }),
    ...Object.fromEntries(told),
  });
}

/** Forms of rows in which mistakes of quantised caches are seen; those of fp8 with scales for half of what values reach. */
export const QUANTISED: readonly (readonly [
  name: string,
  configOf: (model: Model, ids: readonly number[]) => Promise<KvConfig>,
])[] = [
  ['int8', async () => ({ dtype: 'int8' })],
  ['int4', async () => ({ dtype: 'int4' })],
  [
    'fp8_e4m3',
    async (model, ids) => {
      const amax = await calibrate(model, ids);
      const halved = amax.map((layer) =>
        Object.fromEntries(Object.entries(layer).map(([stream, heads]) => [stream, heads.map((most) => most / 2)])),
      );
      return { dtype: 'fp8_e4m3', scale: 'tensor', amax: halved };
    },
  ],
];
