/** The self-test of devices, and that it finds kernels wrong which are. */
import { beforeAll, describe, expect, it } from 'vitest';
import { flash } from '../../attention/kernel/flash.js';
import { closeDevices } from '../../attention/kernel/gpu/devices.js';
import { gpuKernel } from '../../attention/kernel/gpu/gpu.js';
import type { AttentionCall, AttentionKernel } from '../../attention/kernel/kernel.js';
import { between } from '../../attention/streams.js';
import { type TestCase, testCases } from '../../src/reference/device-case.js';
import { testDevice } from '../../src/reference/device-test.js';
import { flat, tensor } from '../../src/tensor/tensor.js';

const SHAPE = { queryHeads: 8, keyValueHeads: 2, headDim: 16, tokens: 150 };

const noPause = async () => {};

let cases: readonly TestCase[];
beforeAll(async () => {
  cases = await testCases(SHAPE, noPause);
});

const tested = (kernel: AttentionKernel) => testDevice(kernel, cases, 0, noPause);

describe('the self-test of devices', () => {
  it('holds a kernel against its bound, over rows in float32 and int8', async () => {
    const checks = await tested(flash);
    expect(checks.map(({ kvDtype, passed, compiled }) => [kvDtype, passed, compiled])).toEqual([
      ['float32', true, 0],
      ['int8', true, 0],
    ]);
    const [float, int8] = checks.map(({ kvBytes }) => kvBytes);
    expect(float).toBe(150 * 2 * 16 * 2 * 4);
    expect(int8).toBe(150 * 2 * 16 * 2 + 150 * 2 * 2 * 2); // codes, and a float16 scale for each head
    for (const { error, bound, steps } of checks) {
      expect(error).toBeGreaterThan(0);
      expect(bound).toBe(flash.bound(150, { keyDim: 16, magnitude: 0 }));
      expect(steps).toBe(1);
    }
  });

  it('says what gpu.js compiled, and what a step moves', async () => {
    try {
      const [first, second] = await tested(gpuKernel('cpu'));
      expect([first?.passed, second?.passed]).toEqual([true, true]);
      expect(first?.compiled).toBeGreaterThan(0);
      expect(first?.moved).toEqual({ uploaded: 2 * 2 * 16 * 4, downloaded: 0, staged: 0 }); // a row of keys and one of values
      const [again] = await tested(gpuKernel('cpu'));
      expect([again?.passed, again?.compiled]).toEqual([true, 0]);
    } finally {
      await closeDevices();
    }
  });

  /** What flash makes of another call, or of its result. */
  const wrong = (change: (call: AttentionCall) => AttentionCall, after: (call: AttentionCall) => void = () => {}) => ({
    ...flash,
    attend(calls: readonly AttentionCall[]) {
      flash.attend(calls.map(change));
      for (const call of calls) after(call);
    },
  });
  const same = (call: AttentionCall) => call;
  const seeing = (from: number, to: number) => (call: AttentionCall) => ({
    ...call,
    blocks: call.blocks.map((block) => between(block, from, to)),
  });
  const rolled = (call: AttentionCall) => {
    const q = flat(call.q_THK);
    const turned = q.slice();
    turned.set(q.subarray(0, q.length - 16), 16);
    turned.set(q.subarray(q.length - 16), 0);
    return { ...call, q_THK: tensor(turned, call.q_THK.shape) };
  };

  it.each<[what: string, kernel: AttentionKernel]>([
    ['adds a thousandth to one value', wrong(same, ({ out_THV }) => out_THV.set(0, 3, 5, out_THV.get(0, 3, 5) + 1e-3))],
    ['gives NaN', wrong(same, ({ out_THV }) => out_THV.set(0, 7, 15, Number.NaN))],
    ['gives nothing', wrong(same, ({ out_THV }) => flat(out_THV).fill(0))],
    ['leaves the first row out', wrong(seeing(1, 150))],
    ['leaves the last row out', wrong(seeing(0, 149))],
    ['takes the query heads for one another', wrong(rolled)],
    ['scales by the dim and not by its root', wrong((call) => ({ ...call, scale: 1 / 16 }))],
  ])('fails a kernel that %s', async (_, kernel) => {
    expect((await tested(kernel)).map(({ passed }) => passed)).toEqual([false, false]);
  });

  it('fails a kernel whose first step alone is right', async () => {
    let steps = 0;
    const tiring = wrong(same, ({ out_THV }) => {
      if (steps++ > 0) flat(out_THV).fill(0);
    });
    expect((await tested(tiring)).map(({ passed }) => passed)).toEqual([false, false]);
  });

  it('lets through what a kernel throws, and the cases can be used again', async () => {
    const broken = wrong(() => {
      throw new Error('lost');
    });
    await expect(tested(broken)).rejects.toThrow('lost');
    expect((await tested(flash)).every(({ passed }) => passed)).toBe(true);
  });
});
