/** What is timed against what, and how often: on a clock of the test's own. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { gpuKernel } from '../../attention/kernel/gpu/gpu.js';
import type { AttentionCall, AttentionKernel, DeviceReport } from '../../attention/kernel/kernel.js';
import { reference } from '../../attention/kernel/reference.js';
import { Scratch } from '../../attention/kernel/scratch.js';
import { DeviceError } from '../../src/errors.js';
import { AttentionPass, type BenchStore, rowBytesOf } from '../../src/reference/attention-bench/attention-pass.js';
import { benchedKernels, contendersOf } from '../../src/reference/attention-bench/contenders.js';
import { attentionBench, type BenchCell, type BenchOptions } from '../../src/reference/attention-bench/index.js';
import { BENCH_SHAPES, benchShapeOf } from '../../src/reference/attention-bench/shapes.js';
import { timesByTurns } from '../../src/reference/attention-bench/turns.js';
import { flat } from '../../src/tensor/tensor.js';

const STORE: BenchStore = { cache: 'contiguous', pageSize: 4, dtype: 'float32', seed: 0 };
const SMALL = benchShapeOf('4/2/8')!;
const LATENT = benchShapeOf('deepseek-v2-lite')!;

/** The result of a pass, and what the call was. */
async function resultOf(pass: AttentionPass, kernel: AttentionKernel = reference, scratch = new Scratch()) {
  return pass.within(async (call) => {
    await kernel.attend([call], scratch);
    return { call, out: flat(call.out_THV).slice() };
  });
}

describe('shapes', () => {
  it('are found by name, or made of heads', () => {
    expect(benchShapeOf('llama-3.1-8b')).toMatchObject({
      heads: '32/8/128',
      queryHeads: 32,
      scale: 1 / Math.sqrt(128),
    });
    expect(benchShapeOf('6/3/10')).toMatchObject({ name: '6/3/10', heads: '6/3/10', queryHeads: 6 });
    expect(new Set(BENCH_SHAPES.map(({ name }) => name)).size).toBe(BENCH_SHAPES.length);
    for (const none of ['', 'gpt', '5/2/8', '0/1/8', '4/2', '4/2/8/1', '4/2/-8', '1e3/1/8']) {
      expect(benchShapeOf(none), none).toBeNull();
    }
  });

  it('have the latent twice in its absorbed form: as a part of the key, and as the value', () => {
    expect(LATENT).toMatchObject({ keyStreams: ['latent', 'rope-key'], valueStream: 'latent' });
    expect(LATENT.scale).toBeCloseTo(1 / Math.sqrt(192), 12);
    expect(rowBytesOf(LATENT, 1, STORE)).toBe(4 * (512 + 64)); // and is stored once
  });
});

describe('AttentionPass', () => {
  it('asks for one query over all rows in decode, and for a query of each row in prefill', async () => {
    const decode = new AttentionPass(SMALL, 'decode', 300, STORE);
    const { call } = await resultOf(decode);
    expect([call.q_THK.shape, [...call.positions]]).toEqual([[1, 4, 8], [299]]);
    expect(call.blocks.map(({ positions }) => positions.length)).toEqual([300]);
    const prefill = await resultOf(new AttentionPass(SMALL, 'prefill', 5, STORE));
    expect([prefill.call.q_THK.shape, [...prefill.call.positions]]).toEqual([
      [5, 4, 8],
      [0, 1, 2, 3, 4],
    ]);
  });

  it('counts what a call reads and computes', () => {
    const [decode, prefill] = (['decode', 'prefill'] as const).map((kind) => new AttentionPass(SMALL, kind, 10, STORE));
    expect([decode!.rowBytes, prefill!.rowBytes]).toEqual([10 * 2 * 2 * 8 * 4, 10 * 2 * 2 * 8 * 4]);
    expect([decode!.operations, prefill!.operations]).toEqual([10 * 4 * 2 * (8 + 8), 55 * 4 * 2 * (8 + 8)]);
    expect(rowBytesOf(SMALL, 10, { dtype: 'float16' })).toBe(10 * 2 * 2 * 8 * 2);
  });

  it.each(['decode', 'prefill'] as const)('gives the same bits in every pass of %s, and in pages', async (kind) => {
    const pass = new AttentionPass(SMALL, kind, 37, STORE);
    const { out } = await resultOf(pass);
    expect((await resultOf(pass)).out).toEqual(out);
    expect((await resultOf(new AttentionPass(SMALL, kind, 37, { ...STORE, cache: 'paged' }))).out).toEqual(out);
    expect((await resultOf(new AttentionPass(SMALL, kind, 37, { ...STORE, seed: 1 }))).out).not.toEqual(out);
  });

  it('goes on after a kernel that failed', async () => {
    const pass = new AttentionPass(SMALL, 'decode', 9, STORE);
    const { out } = await resultOf(pass);
    await expect(pass.within(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect((await resultOf(pass)).out).toEqual(out);
    pass.release();
  });

  it('has a device upload the new rows alone', async () => {
    const kernel = gpuKernel('cpu');
    const row = 2 * 2 * 8 * 4;
    for (const [kind, rows] of [
      ['decode', 1],
      ['prefill', 20],
    ] as const) {
      // biome-ignore format: pairs
      const pass = new AttentionPass(SMALL, kind, 20, STORE);
      await resultOf(pass, kernel);
      const scratch = new Scratch();
      await resultOf(pass, kernel, scratch);
      expect(scratch.moved.uploaded).toBe(rows * row);
    }
  });
});

describe('contenders', () => {
  const absent: AttentionKernel = { ...reference, device: () => Promise.reject(new DeviceError('Device x: none.')) };

  it('leave out what cannot be had, with its reason, unless it must be there', async () => {
    const { contenders, leftOut } = await contendersOf({ reference, absent }, false);
    expect(contenders.map(({ name }) => name)).toEqual(['reference']);
    expect(leftOut).toEqual([{ kernel: 'absent', reason: 'Device x: none.' }]);
    expect(await benchedKernels(contenders)).toEqual([{ name: 'reference', device: null }]);
    await expect(contendersOf({ reference, absent }, true)).rejects.toThrow(DeviceError);
  });

  it('hide no other error', async () => {
    const broken: AttentionKernel = { ...reference, device: () => Promise.reject(new TypeError('broken')) };
    await expect(contendersOf({ broken }, false)).rejects.toThrow('broken');
  });
});

describe('turns', () => {
  let now = 0;
  let log: string[] = [];

  /** A kernel that computes the reference's result and takes this many milliseconds. */
  function taking(name: string, ms: number | (() => number), change: (call: AttentionCall) => void = () => {}) {
    const kernel: AttentionKernel = {
      ...reference,
      attend(calls) {
        reference.attend(calls);
        for (const call of calls) change(call);
        log.push(name);
        now += typeof ms === 'number' ? ms : ms();
      },
    };
    return { name, kernel };
  }

  /** One on a device, as slow as these many milliseconds. */
  function onDevice(name: string, ms: number) {
    const { kernel } = taking(name, ms);
    const report = { compiled: 0, compileMs: 0 } as DeviceReport;
    return { name, kernel: { ...kernel, device: async () => report } };
  }

  const start = () => {
    [now, log] = [0, []];
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    return new AttentionPass(SMALL, 'decode', 12, STORE);
  };
  afterEach(() => vi.restoreAllMocks());

  it('gives each kernel as much time as the other, turn by turn', async () => {
    const pass = start();
    const { times } = await timesByTurns(pass, [taking('reference', 10), taking('other', 5)], { seconds: 1 });
    const runs = log
      .join(' ')
      .replace(/(reference ?)+/g, 'R')
      .replace(/(other ?)+/g, 'o');
    expect(runs).toMatch(/^(Ro){4,}R?$/);
    expect(times).toMatchObject([
      { kernel: 'reference', medianMs: 10, leastMs: 10, ratio: 1, calls: 50 },
      { kernel: 'other', medianMs: 5, leastMs: 5, ratio: 2, calls: 100 },
    ]);
    expect(times[1]!.gbPerSecond).toBeCloseTo(pass.rowBytes / 5e6, 12);
    expect(times[1]!.gflopPerSecond).toBeCloseTo(pass.operations / 5e6, 12);
  });

  it('takes ratios within turns: a machine that slows down slows all', async () => {
    const pass = start();
    const slower = (ms: number) => () => ms * (1 + Math.floor(now / 400));
    const { times } = await timesByTurns(pass, [taking('reference', slower(20)), taking('other', slower(10))], {
      seconds: 2,
    });
    expect(times[1]!.ratio).toBeGreaterThan(1.4);
    expect(times[1]!.ratio).toBeLessThan(2.8);
  });

  it('gives slow kernels three turns, and very slow ones fewer', async () => {
    const pass = start();
    const contenders = [
      taking('reference', 2),
      taking('slow', 800),
      taking('slower', 15_000),
      taking('slowest', 30_000),
    ];
    const { times } = await timesByTurns(pass, contenders, { seconds: 1 });
    expect(times.map(({ calls }) => calls).slice(1)).toEqual([3, 2, 1]); // a first call of more than a second counts
    expect(times[0]!.calls).toBeGreaterThan(30);
  });

  it('has no ratio and no agreement without the reference', async () => {
    const { times } = await timesByTurns(start(), [taking('other', 5)], { seconds: 0.1 });
    expect(times).toMatchObject([{ ratio: null, agreement: null }]);
  });

  it('holds results against the reference within the bound of the kernel', async () => {
    const contenders = [
      taking('reference', 1),
      taking('same', 1),
      taking('off', 1, ({ out_THV }) => out_THV.set(0, 3, 7, out_THV.get(0, 3, 7) + 1e-3)),
      taking('none', 1, ({ out_THV }) => out_THV.set(0, 0, 0, Number.NaN)),
    ];
    const { times } = await timesByTurns(start(), contenders, { seconds: 0.05 });
    const [first, same, off, none] = times.map(({ agreement }) => agreement);
    expect([first, same]).toEqual([null, { difference: 0, bound: 0 }]);
    expect(off!.difference).toBeGreaterThan(1000);
    expect(none!.difference).toBe(Number.POSITIVE_INFINITY);
  });

  it('leaves a kernel out whose device has no room, and times the others', async () => {
    const full = taking('full', 1, () => {
      throw new DeviceError('Device x: no room.');
    });
    const { times, leftOut } = await timesByTurns(start(), [taking('reference', 1), full], { seconds: 0.05 });
    expect(times.map(({ kernel }) => kernel)).toEqual(['reference']);
    expect(leftOut).toEqual([{ kernel: 'full', reason: 'Device x: no room.' }]);
  });

  const all = async (options: BenchOptions, contenders: Parameters<typeof attentionBench>[1]) => {
    const cells: BenchCell[] = [];
    for await (const cell of attentionBench(options, contenders)) cells.push(cell);
    return cells;
  };

  it('goes through shapes, passes and lengths', async () => {
    start();
    const options = {
      ...STORE,
      seconds: 0.01,
      shapes: [SMALL, benchShapeOf('1/1/4')!],
      tokens: { decode: [3, 5], prefill: [2] },
    };
    const cells = await all(options, [taking('reference', 1)]);
    expect(cells.map(({ shape, pass, tokens }) => `${shape} ${pass} ${tokens}`)).toEqual([
      '4/2/8 decode 3',
      '4/2/8 decode 5',
      '4/2/8 prefill 2',
      '1/1/4 decode 3',
      '1/1/4 decode 5',
      '1/1/4 prefill 2',
    ]);
  });

  it('does not try a device that would take too long: its time grows with T in decode, and with its square in prefill', async () => {
    start();
    const options = { ...STORE, seconds: 1, shapes: [SMALL], tokens: { decode: [4, 8, 16], prefill: [4, 8, 16] } };
    const cells = await all(options, [taking('reference', 5000), onDevice('gpu', 6000)]);
    const tried = cells.map(({ times }) => times.length);
    expect(tried).toEqual([2, 2, 2, 2, 1, 1]);
    expect(cells[4]!.leftOut).toEqual([
      { kernel: 'gpu', reason: 'A call over 8 tokens would take about 24 s; give more --seconds.' },
    ]);
    expect(cells[5]!.leftOut).toEqual(cells[4]!.leftOut);
    const faster = await all(options, [taking('reference', 7000), onDevice('gpu', 6000)]);
    expect(faster.every(({ times }) => times.length === 2)).toBe(true); // where the reference is waited for, so is what is faster
  });
});
