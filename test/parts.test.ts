import { describe, expect, it } from 'vitest';
import { findBrowser } from './support/browser.js';
import { ROOT } from './support/fixtures.js';
import { decide, describeWith, missingWebGpu } from './support/parts.js';

describe('a part that npm cannot bring', () => {
  it('lets its tests run where it is there', () => {
    for (const required of [undefined, '', 'all']) expect(decide(null, required)).toBe('run');
  });

  it('has them skipped where it is missing, and fail where all parts are required', () => {
    expect(decide('no driver', undefined)).toBe('skip');
    expect(decide('no driver', '')).toBe('skip');
    expect(decide('no driver', 'all')).toBe('fail');
  });

  it('refuses a TOUCHSTONE_REQUIRE that it does not know, since it would require nothing', () => {
    expect(() => decide(null, 'webgpu')).toThrow('TOUCHSTONE_REQUIRE is "webgpu", and may only be "all"');
  });
});

describe('a browser for tests', () => {
  it('is the one that TOUCHSTONE_CHROMIUM names, or else found by the folders of PATH', () => {
    const given = process.execPath;
    expect(findBrowser({ TOUCHSTONE_CHROMIUM: given, PATH: '' })).toBe(given);
    expect(findBrowser({ PATH: '' })).toBeNull();
    expect(findBrowser({ PATH: ROOT })).toBeNull();
  });

  it('is not another one than was named', () => {
    expect(() => findBrowser({ TOUCHSTONE_CHROMIUM: 'nowhere/chromium' })).toThrow(
      'TOUCHSTONE_CHROMIUM is "nowhere/chromium", which is no file that can be run',
    );
  });
});

// Stands in the report, as skipped or failed, where there is no WebGPU.
describeWith(await missingWebGpu(), 'WebGPU', () => {
  it('is looked for once', () => {
    expect(missingWebGpu()).toBe(missingWebGpu());
  });
});
