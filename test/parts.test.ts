import { describe, expect, it } from 'vitest';
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

// Stands in the report, as skipped or failed, where there is no WebGPU.
describeWith(await missingWebGpu(), 'WebGPU', () => {
  it('is looked for once', () => {
    expect(missingWebGpu()).toBe(missingWebGpu());
  });
});
