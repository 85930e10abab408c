/** The gpu.js kernels in a browser, on its own WebGPU and WebAssembly: as near to the truth as they declare. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { DEVICE_NAMES, MODES } from '../../attention/kernel/gpu/device.js';
import { ADVERSARIES } from '../support/adversarial.js';
import { INSECURE_HOST, missingBrowserWebGpu, type Opened, openPages } from '../support/browser.js';
import { describeWith } from '../support/parts.js';
import type { Page } from './page.js';

/** What the page has made of page.ts: functions that are given to it are sent there as text. */
declare const touchstone: Page;

/** To begin and to end. A browser that has stopped answering shall not take a minute of each test. */
const MOST_MS = 60_000;
vi.setConfig({ testTimeout: 20_000 });

describeWith(await missingBrowserWebGpu(), 'in a browser', () => {
  let opened: Opened;
  let page: Awaited<ReturnType<Opened['pageOn']>>;
  beforeAll(async () => {
    opened = await openPages(fileURLToPath(new URL('page.ts', import.meta.url)));
    page = await opened.pageOn('localhost');
  }, MOST_MS);
  afterAll(() => opened?.close(), MOST_MS);

  describe.each(DEVICE_NAMES)('device %s', (device) => {
    it.each(ADVERSARIES.map(({ name }, i) => ({ name, i })))(
      'is within its bound of the truth: $name',
      async ({ i }) => {
        const measured = page.evaluate(([on, adversary]) => touchstone.truthError(on, adversary), [device, i] as const);
        const { error, bound } = await measured;
        expect(error).toBeLessThanOrEqual(bound);
      },
    );

    const places = ['q', 'keys', 'values'] as const;
    it.each(places.flatMap((where) => [Number.NaN, Number.NEGATIVE_INFINITY].map((fault) => ({ where, fault }))))(
      'shows $fault in $where where the reference does, and nowhere else',
      async ({ where, fault }) => {
        const finiteOn = (on: typeof device | 'reference') =>
          page.evaluate(([on, where, fault]) => touchstone.finite(on, [where, fault]), [on, where, fault] as const);
        const found = await finiteOn(device);
        expect(found).toEqual(await finiteOn('reference'));
        expect(found).toContain(false);
      },
    );

    it('decodes over rows that stay on the device, in float32 and int8', async () => {
      const checks = await page.evaluate((on) => touchstone.selfTest(on), device);
      expect(checks.map(({ kvDtype, passed }) => [kvDtype, passed])).toEqual([
        ['float32', true],
        ['int8', true],
      ]);
    });

    it('runs on what it says it does', async () => {
      const { name, about, ran } = await page.evaluate((on) => touchstone.report(on), device);
      expect([name, ran]).toEqual([device, [MODES[device]]]);
      expect(about).not.toBe('');
    });
  });

  it('takes a GPU by itself if it is one, and WebAssembly otherwise', async () => {
    const { software } = await page.evaluate(() => touchstone.report('webgpu'));
    const { name, passedOver } = await page.evaluate(() => touchstone.report('auto'));
    expect(name).toBe(software ? 'wasm' : 'webgpu');
    expect(passedOver).toHaveLength(software ? 1 : 0);
  });

  it('tells of what the GPU refuses, and of its loss; closed, it can be had again', async () => {
    const refused = expect.stringContaining('used in submit while destroyed');
    const lost = expect.stringContaining('Device webgpu: the device was lost');
    expect(await page.evaluate(() => touchstone.failures())).toEqual(['fine', refused, refused, 'fine', lost, 'fine']);
    await page.evaluate(() => touchstone.close());
  });

  it('has WebAssembly where a page may not use WebGPU, and says why it may not', async () => {
    const insecure = await opened.pageOn(INSECURE_HOST);
    const { name, passedOver } = await insecure.evaluate(() => touchstone.report('auto'));
    expect(name).toBe('wasm');
    expect(passedOver).toEqual([
      'Device webgpu: browsers offer WebGPU only to pages from https or localhost; serve this one from there, or choose --device wasm.',
    ]);
  });
});
