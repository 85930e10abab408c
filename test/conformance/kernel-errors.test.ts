/** Every kernel of the host against float64, for inputs that are hard. (Those of devices: device-suite.ts.) */
import { describe, expect, it } from 'vitest';
import { KERNELS } from '../../attention/kernel/index.js';
import type { AttentionKernel } from '../../attention/kernel/kernel.js';
import { ADVERSARIES, truthErrorOf } from '../support/adversarial.js';
import { twinOf } from '../support/twin.js';
import { errorSuite } from './error-suite.js';

describe.each(['reference', 'flash'] as const)('kernel %s', (name) => errorSuite(KERNELS[name]));

it.each([Number.NaN, 1e6])('a twin notices %d among right numbers', async (wrong) => {
  const kernel: AttentionKernel = {
    ...KERNELS.reference,
    attend(calls) {
      KERNELS.reference.attend(calls);
      for (const { out_THV } of calls) out_THV.data[0] = wrong;
    },
  };
  const { call } = ADVERSARIES.find(({ name }) => name === 'one head')!;
  await expect(twinOf({ ...kernel, bound: () => 10 }, { calls: 0, worst: 0 }).attend([call])).rejects.toThrow(
    'its bound',
  );
  expect((await truthErrorOf(kernel, { name: '', call })).error).not.toBeLessThan(1000);
});
