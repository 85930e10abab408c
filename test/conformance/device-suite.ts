/** One suite for the gpu.js kernels, run once a device: device-cpu, device-wasm and device-webgpu. */
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { type DeviceName, MODES } from '../../attention/kernel/gpu/device.js';
import { closeDevices } from '../../attention/kernel/gpu/devices.js';
import { gpuKernel } from '../../attention/kernel/gpu/gpu.js';
import { PLAIN_SCORES, type ScoreRules } from '../../attention/scores.js';
import { loadModel, type Model } from '../../src/model/load.js';
import { calibrate } from '../../src/reference/calibrate.js';
import { makeGolden } from '../../src/reference/golden.js';
import { nameOfRule, type RunChoice, relationOf } from '../../src/reference/lattice.js';
import { ADVERSARIES } from '../support/adversarial.js';
import { cut, rules as rulesOf, run } from '../support/attend.js';
import { CHECKPOINTS, FAMILY_CHECKPOINTS, fixture, goldenOptions, readGolden } from '../support/fixtures.js';
import { noise, problem, type Shape, single } from '../support/streams.js';
import { type Seen, twinOf, withKernel } from '../support/twin.js';
import {
  CACHE_NAMES,
  distance,
  FORMS,
  logitsOf,
  refusalOf,
  rules,
  STRATEGY_NAMES,
  textbook,
  withChoice,
} from './cases.js';
import { errorSuite } from './error-suite.js';
import { residencySuite } from './residency-suite.js';

const LENGTH = 45;

export function deviceSuite(device: DeviceName): void {
  const kernel = gpuKernel(device);
  const seen: Seen = { calls: 0, worst: 0 };
  const twin = twinOf(kernel, seen);
  afterAll(closeDevices);

  it('runs on what it says it does', async () => {
    const { call } = ADVERSARIES[0]!;
    await kernel.attend([call]);
    expect((await kernel.device!()).ran).toEqual([MODES[device]]);
  });

  callSuite(twin);
  errorSuite(kernel);
  residencySuite(device, kernel, twin);
  describe.each(CHECKPOINTS.filter((name) => name.startsWith('tiny-')))('%s', (name) => {
    modelSuite(loadModel(fixture(name)), twin, device);
  });
  familySuite(twin, device);
  describe.each(CHECKPOINTS.filter((name) => name.startsWith('austen-')))('%s, trained', (name) => {
    it('picks the tokens of its golden', async () => {
      const golden = readGolden(name);
      const model = loadModel(fixture(name), { kernel: 'gpu', device });
      const steps = golden.generatedIds.length;
      const found = await makeGolden(model, golden.inputIds, model.components.newCache(), { steps });
      expect(found.generatedIds).toEqual(golden.generatedIds);
    });
  });
}

/** Few shapes, since each is compiled anew: one head, groups of one to four, keys that fill no vector. */
const SHAPES: readonly Shape[] = [
  { T: 1, G: 1, perGroup: 1, K: 1, V: 1 },
  { T: 70, G: 2, perGroup: 1, K: 8, V: 24 },
  { T: 33, G: 1, perGroup: 2, K: 33, V: 5 },
  { T: 140, G: 3, perGroup: 3, K: 20, V: 7 },
];

const SCORES: readonly ScoreRules[] = [
  PLAIN_SCORES,
  { softcap: 0.4, alibi: null },
  { softcap: 2, alibi: { slopes: [...noise(12, 5).map(Math.abs)], form: 'distance', factor: 0.5 } },
  { softcap: null, alibi: { slopes: Array(12).fill(0.0703125) as number[], form: 'bfloat16', factor: 0.5 } },
];

function callSuite(twin: ReturnType<typeof twinOf>): void {
  const cuts = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 5 });
  test.prop([fc.constantFrom(...SHAPES), rulesOf, fc.constantFrom(...SCORES), fc.boolean(), cuts], { numRuns: 60 })(
    'stays within its bound of the reference, with any rule, sinks, softcap and bias, cut anywhere',
    async (shape, visibility, scores, sinks, sizes) => {
      const given = problem(shape, single);
      const sinkLogits = sinks ? single(noise(shape.G * shape.perGroup, 4).map((x) => 2 * x)) : null;
      await run(twin, given, cut(given.rows, given.positions, sizes), shape.V, visibility, sinkLogits, scores);
    },
  );
}

function modelSuite(model: Model, twin: ReturnType<typeof twinOf>, device: DeviceName): void {
  const ids = idsOf(model);
  const all = rules(16, LENGTH).map((rule) => ({ ...rule, name: nameOfRule(rule) }));
  const plain = textbook({ visibility: 'auto', positions: 'absolute' });

  it.each([
    { config: { dtype: 'float32' }, named: 'float32' } as const,
    { config: { dtype: 'float64' }, named: 'float64' } as const,
    ...FORMS,
  ])('rows as $named in any cache: every call within the bound', async ({ config }) => {
    const amax = 'scale' in config && config.scale ? await calibrate(model, ids) : undefined;
    for (const [i, cache] of CACHE_NAMES.entries()) {
      const choice: RunChoice = {
        ...plain,
        cache,
        kvDtype: { ...config, amax },
        visibility: cache === 'ring' ? { kind: 'sinks', sinks: 4, window: 12 } : 'auto',
      };
      const chunk = cache === 'none' ? LENGTH : [7, 3, 16][i % 3]!;
      await logitsOf(withKernel(withChoice(model, choice), twin), ids, chunk);
    }
  });

  it.each(all)('seen as $name with any strategy: every call within the bound, and the logits', async (rule) => {
    for (const [i, attention] of STRATEGY_NAMES.entries()) {
      const choice: RunChoice = { ...textbook(rule), attention, cache: CACHE_NAMES[i % 2 === 0 ? 1 : 4]! };
      if (refusalOf(model, choice) !== null) continue;
      const beside = await logitsOf(withKernel(withChoice(model, choice), twin), ids, 13);
      const alone: RunChoice = { ...choice, kernel: 'gpu' };
      const found = await logitsOf(withChoice(model, alone, device), ids, 13);
      const relation = relationOf(alone, choice, model.config, LENGTH);
      expect(relation.kind).toBe('reordered');
      if (relation.kind === 'reordered' && !relation.given)
        expect(distance(found, beside)).toBeLessThanOrEqual(relation.bound);
    }
  });
}

function familySuite(twin: ReturnType<typeof twinOf>, device: DeviceName): void {
  it.each(FAMILY_CHECKPOINTS)('%s: every call within the bound, and the logits', async (name) => {
    const model = loadModel(fixture(name), goldenOptions(name));
    const ids = idsOf(model);
    const beside = await logitsOf(withKernel(model, twin), ids, 13);
    const found = await logitsOf(withChoice(model, { kernel: 'gpu' }, device), ids, 13);
    const plain = textbook({ visibility: 'auto', positions: 'absolute' });
    const relation = relationOf({ ...plain, kernel: 'gpu' }, plain, model.config, LENGTH);
    if (relation.kind === 'reordered' && !relation.given)
      expect(distance(found, beside)).toBeLessThanOrEqual(relation.bound);
  });
}

function idsOf({ config }: Model): number[] {
  return Array.from({ length: LENGTH }, (_, i) => (i * i * 7 + 3 * i) % config.vocabulary);
}
