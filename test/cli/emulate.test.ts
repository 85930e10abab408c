import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { loadModel } from '../../src/model/load.js';
import { makeGolden } from '../../src/reference/golden.js';
import { tableOf } from '../../src/tensor/dtype.js';
import { EMULATED_DTYPES, EMULATED_PRECISIONS } from '../../src/tensor/emulated.js';
import { output, touchstone } from '../support/cli.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

const MODEL = fixture('austen-sinks');

describe.each(EMULATED_PRECISIONS)('--emulate %s', (precision) => {
  it('makes goldens whose logits are in that dtype, and exact; margins are float32', async () => {
    const out = join(temporaryFolder(), 'golden.safetensors');
    const flags = ['golden', MODEL, '--ids', '9,8,7,6', '--steps', '5', '--out', out, '--emulate', precision];
    expect(output(flags)).toBe(`${out}: logits [8, 1024] in ${precision}, 5 generated tokens\n`);
    const model = loadModel(MODEL, { precision });
    const golden = await makeGolden(model, [9, 8, 7, 6], model.components.newCache(), { steps: 5 });
    withSafetensors(out, (file) => {
      const dtype = EMULATED_DTYPES[precision];
      expect([file.tensors.get('logits')!.dtype, file.tensors.get('margins')!.dtype]).toEqual([dtype, 'F32']);
      const written = Array.from(new Uint16Array(file.read('logits')), (word) => tableOf(dtype)![word]!);
      expect(written).toEqual([...golden.logits]);
      expect([...new Float32Array(file.read('margins'))]).toEqual([...golden.margins]);
      expect(JSON.parse(file.metadata.get('options')!)).toMatchObject({ precision, kvDtype: precision });
    });
    const { precision: said, margins } = JSON.parse(output([...flags, '--json']));
    expect([said, margins]).toEqual([precision, [...golden.margins]]);
  });

  it('goes on from a cache that was saved with it, and from no other', () => {
    const file = join(temporaryFolder(), 'cache.safetensors');
    const run = (...flags: string[]) => touchstone(['generate', '--model', MODEL, '-n', '6', '--json', ...flags]);
    const idsOf = ({ out, err }: { out: string; err: string }) => {
      expect(err).toBe('');
      return JSON.parse(out).ids;
    };
    const whole = idsOf(run('--ids', '9,8,7,6', '--emulate', precision, '--save-cache', file));
    withSafetensors(file, ({ tensors }) =>
      expect(tensors.get('layers.0.keys')?.dtype).toBe(EMULATED_DTYPES[precision]),
    );
    expect(idsOf(run('--emulate', precision, '--load-cache', file))).toEqual(whole);
    const { err, code } = run('--load-cache', file);
    expect([code, err]).toEqual([1, expect.stringContaining(`the cache was saved with kvDtype = ${precision}`)]);
  });
});

it.each([
  [
    ['--emulate', 'bfloat16', '--precision', 'float64'],
    '--emulate bfloat16 goes with no --precision float64: it computes in float32, and rounds that; leave one of them out.',
  ],
  [
    ['--emulate', 'float16', '--kernel', 'flash'],
    'Kernel flash computes in float32 and float64; for precision float16 choose the kernel reference.',
  ],
  [
    ['--emulate', 'bfloat16', '--kernel', 'gpu'],
    'Kernel gpu computes in float32; for precision bfloat16 choose the kernel reference.',
  ],
])('%j is wrong usage, and writes nothing', (flags, sentence) => {
  const out = join(temporaryFolder(), 'golden.safetensors');
  const { out: printed, err, code } = touchstone(['golden', MODEL, '--ids', '1', '--out', out, ...flags]);
  expect([printed, err, code]).toEqual(['', `touchstone: ${sentence}\n`, 2]);
  expect(existsSync(out)).toBe(false);
});

it('is refused before a model is looked for', () => {
  const { err, code } = touchstone([
    'golden',
    '/nowhere',
    '--ids',
    '1',
    '--out',
    'x',
    '--emulate',
    'float16',
    '--precision',
    'float64',
  ]);
  expect([code, err]).toEqual([2, expect.stringContaining('--emulate float16 goes with no --precision float64')]);
});
