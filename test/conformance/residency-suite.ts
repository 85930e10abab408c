/** Rows stay on the device: what moves does not grow with the text, what is held is given back, and copies follow whatever happens to a cache. */
import { setTimeout } from 'node:timers/promises';
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { KvCache } from '../../attention/cache/cache.js';
import type { KvConfig } from '../../attention/cache/codec/format.js';
import type { CacheName } from '../../attention/cache/index.js';
import type { DeviceName } from '../../attention/kernel/gpu/device.js';
import { closeDevices } from '../../attention/kernel/gpu/devices.js';
import type { AttentionKernel } from '../../attention/kernel/kernel.js';
import { AttentionCounter } from '../../attention/layer.js';
import { loadModel, type Model } from '../../src/model/load.js';
import { forward } from '../../src/model/transformer.js';
import type { RunChoice } from '../../src/reference/lattice.js';
import { flat } from '../../src/tensor/tensor.js';
import { CHECKPOINTS, fixture } from '../support/fixtures.js';
import { collect, living } from '../support/heap.js';
import { withKernel } from '../support/twin.js';
import { commands, feed, idsFrom, OPERATIONS } from './cache-commands.js';
import { distance, logitsOf, withChoice } from './cases.js';

const FORMS: readonly KvConfig[] = [
  { dtype: 'float32' },
  { dtype: 'int8' },
  { dtype: 'int4', zero: 'affine', keys: 'channel', group: 4, residual: 12 },
];

const RESIDENT = [
  'contiguous',
  'preallocated',
  'ring',
  'paged',
  'prefix',
  'radix',
] as const satisfies readonly CacheName[];

const WINDOW = { kind: 'sinks', sinks: 4, window: 12 } as const;

export function residencySuite(device: DeviceName, kernel: AttentionKernel, twin: AttentionKernel): void {
  const loaded = loadModel(fixture('tiny-llama-rope3-f16'));
  const modelWith = (choice: Partial<RunChoice>) => withChoice(loaded, { ...choice, kernel: 'gpu' }, device);
  /** What the device holds once the garbage of other tests is gone. */
  const heldBytes = async () => {
    let before = Number.NaN;
    for (;;) {
      await setTimeout(60);
      collect();
      const { bytes } = await kernel.device!();
      if (bytes === before) return bytes;
      before = bytes;
    }
  };

  it.each(RESIDENT.flatMap((cache) => FORMS.map((kvDtype) => ({ cache, kvDtype, dtype: kvDtype.dtype }))))(
    'a decode step moves as many bytes late as early: $cache, $dtype',
    async ({ cache, kvDtype }) => {
      const model = modelWith({ cache, kvDtype, visibility: cache === 'ring' ? WINDOW : 'auto' });
      const own = model.components.newCache();
      // So many steps hold whole pages, groups and blocks of the residual; so many later all of them, and the chunks that a window's list begins with, lie as before.
      const [period, later] = kvDtype.residual === undefined ? [20, 320] : [24, 192];
      const moved = await movedBySteps(model, own, 64 + later + period);
      const sum = (from: number) => {
        const steps = moved.slice(from, from + period);
        return steps.reduce((all, { up, down }) => ({ up: all.up + up, down: all.down + down }));
      };
      expect(sum(64 + later)).toEqual(sum(64));
      own.release();
    },
  );

  // Elsewhere the memory is the host's, and queries and results stay where they are.
  if (device === 'webgpu') uploadTest(() => modelWith({ cache: 'paged' }));

  it('1,000 decode steps hold steady memory, on the device and on the heap', { timeout: 300_000 }, async () => {
    const model = modelWith({ cache: 'ring', visibility: { kind: 'sliding', window: 64 } });
    const cache = model.components.newCache();
    const held: number[] = [];
    const heap: number[] = [];
    for (const steps of [200, 400, 400]) {
      await movedBySteps(model, cache, steps);
      held.push(await heldBytes());
      heap.push(await living());
    }
    expect(held[2]).toBeLessThanOrEqual(held[0]!); // less where another test's garbage went meanwhile
    expect(heap[2]! - heap[1]!).toBeLessThan(300_000);
    cache.release();
  });

  it('gives back what a sequence held when it is released, and is dropped', async () => {
    const choices = [{ cache: 'contiguous' }, { cache: 'ring', visibility: WINDOW }, { cache: 'none' }] as const;
    for (const choice of choices) {
      const model = modelWith(choice);
      const run = async (release: boolean) => {
        const cache = model.components.newCache();
        await movedBySteps(model, cache, 20);
        if (release) cache.release();
      };
      await run(true); // lists of slots stay
      const before = await heldBytes();
      await run(true);
      expect(await heldBytes()).toBeLessThanOrEqual(before);
      await run(false);
      for (let wait = 0; wait < 100 && (await heldBytes()) > before; wait++) await setTimeout(20); // for the collector
      expect(await heldBytes()).toBeLessThanOrEqual(before);
    }
  });

  it.each(FORMS.slice(1))(
    'copies of $dtype rows follow stores that grow past each other, and windows that begin anywhere',
    async (kvDtype) => {
      const model = withKernel(withChoice(loaded, { kvDtype }), twin);
      const pair = [model.components.newCache(), model.components.newCache()];
      for (let round = 0; round < 12; round++) await feed(model, pair, 13); // each is in the other's way
      for (const cache of pair) cache.release();
      const [group, residual] = kvDtype.keys === 'channel' ? [20, 20] : [32, 0]; // 20 does not divide a chunk
      const visibility = { kind: 'sliding', window: 100 } as const;
      const windowed = withKernel(withChoice(loaded, { kvDtype: { ...kvDtype, group, residual }, visibility }), twin);
      const long = windowed.components.newCache();
      for (let round = 0; round < 50; round++) await feed(windowed, [long], 6);
      long.release();
    },
  );

  it('passes that are under way together do not disturb each other', async () => {
    const passes = async (model: Model) => {
      const caches = Array.from({ length: 4 }, () => model.components.newCache());
      const fed = caches.map((cache, i) =>
        forward(model, [{ ids: idsFrom(cache, 9 + 3 * i), cache }], { logits: 'all' }),
      );
      const found = (await Promise.all(fed)).map(flat);
      for (const cache of caches) cache.release();
      return found;
    };
    const [found, expected] = [await passes(modelWith({})), await passes(loaded)];
    for (const [i, logits] of found.entries()) expect(distance(logits, expected[i]!)).toBeLessThanOrEqual(512);
  });

  it('compiles nothing twice, whichever models take turns', async () => {
    const names = CHECKPOINTS.filter((name) => name.startsWith('tiny-'));
    const models = names.map((name) => withChoice(loadModel(fixture(name)), { kernel: 'gpu' }, device));
    const round = async () => {
      for (const model of models) await logitsOf(model, [1, 2, 3, 4, 5, 6, 7], 3);
      return (await kernel.device!()).compiled;
    };
    const first = await round();
    expect(await round()).toBe(first);
  });

  it('lets go of copies whose device is closed, while their cache lives on', async () => {
    const model = modelWith({ cache: 'preallocated' });
    const cache = model.components.newCache();
    const living = async () => {
      collect();
      await setTimeout(60);
      collect();
      return process.memoryUsage().arrayBuffers;
    };
    const seen: number[] = [];
    for (let round = 0; round < 6; round++) {
      await movedBySteps(model, cache, 2);
      await closeDevices();
      seen.push(await living());
    }
    expect(seen.at(-1)! - seen[1]!).toBeLessThan(200_000); // a copy takes 131 kB
    cache.release();
  });

  const choice = fc.record({ cache: fc.constantFrom(...RESIDENT), kvDtype: fc.constantFrom(...FORMS) });
  test.prop([choice, fc.array(OPERATIONS, { minLength: 3, maxLength: 16 })], {
    numRuns: device === 'webgpu' ? 25 : 60,
  })('copies follow forks, rollbacks, releases, saved contents and shared pages', async ({ cache, kvDtype }, ops) => {
    const model = withKernel(
      withChoice(loaded, { cache, kvDtype, visibility: cache === 'ring' ? WINDOW : 'auto' }),
      twin,
    );
    await commands(model, ops);
  });
}

/** What a step moves, number by number. */
function uploadTest(modelFor: () => Model): void {
  it('a decode step uploads the new rows, their place and the queries', async () => {
    const model = modelFor();
    const moved = await movedBySteps(model, model.components.newCache(), 40);
    const [layers, G, H, K] = [2, 2, 8, 16];
    const [rows, place, queries] = [2 * G * K, 2, H * (K + 3)];
    const expected = { up: 4 * layers * (rows + place + queries), down: 4 * layers * H * (K + 2) };
    for (const each of moved) expect(each).toEqual(expected);
  });
}

/** What each of some decode steps moved. */
async function movedBySteps(model: Model, cache: KvCache, steps: number): Promise<{ up: number; down: number }[]> {
  const moved: { up: number; down: number }[] = [];
  for (let step = 0; step < steps; step++) {
    const counter = new AttentionCounter();
    await forward(model, [{ ids: [(cache.next * 7) % 50], cache }], { counter });
    const { uploaded, downloaded } = counter.scratch.moved;
    moved.push({ up: uploaded, down: downloaded });
  }
  return moved;
}
