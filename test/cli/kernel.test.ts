/** `--kernel gpu --device ...`, as a user gives them. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { output, touchstone } from '../support/cli.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

const generate = (...args: readonly string[]) => touchstone(['generate', 'It was a fine', '-n', '24', ...args]);

describe('--kernel gpu', () => {
  it.each(['wasm', 'cpu'])('on %s continues a prompt as the reference does, and says what really ran', (device) => {
    const { out, err, code } = generate('--kernel', 'gpu', '--device', device, '--stats');
    expect([out, code]).toEqual([generate().out, 0]);
    const ran = device === 'wasm' ? 'webasm' : 'cpu';
    expect(err).toContain(`\ndevice    ${device} (gpu.js ran ${ran}): `);
    expect(err).toMatch(
      /\ncompiled {2}\d+ kernels in [\d.,]+ ms\nmoved {5}prefill: [\d,]+ bytes up, 0 down\n {10}a decode step: [\d,]+ bytes up, 0 down/,
    );
    expect(err).toMatch(/\non device [\d,]+ bytes\n/);
  });

  it('has all of it in --json, and null where no device is used', () => {
    const stats = (...args: readonly string[]) => {
      const found = output(['generate', '--ids', '0', '-n', '8', '--json', ...args]);
      return (JSON.parse(found) as { stats: { device: unknown } }).stats.device;
    };
    expect(stats()).toBeNull();
    const moved = { uploaded: expect.any(Number), downloaded: 0, staged: expect.any(Number) };
    expect(stats('--kernel', 'gpu', '--device', 'wasm')).toEqual({
      name: 'wasm',
      ran: ['webasm'],
      about: expect.any(String),
      software: true,
      passed_over: [],
      kernels_compiled: expect.any(Number),
      compile_ms: expect.any(Number),
      bytes: expect.any(Number),
      prefill: moved,
      decode: moved,
    });
  });

  it('makes goldens, which say so', () => {
    const out = join(temporaryFolder(), 'golden.safetensors');
    const model = fixture('tiny-llama-rope3-f16');
    output(['golden', model, '--ids', '1,2', '--out', out, '--kernel', 'gpu', '--device', 'cpu']);
    withSafetensors(out, ({ metadata }) => expect(JSON.stringify([...metadata])).toContain('gpu on cpu'));
  });

  it.each([
    [['--device', 'wasm'], 'device (--device wasm): goes with the kernel gpu (--kernel gpu), got reference.'],
    [
      ['--kernel', 'gpu', '--precision', 'float64'],
      'Kernel gpu computes in float32; for precision float64 choose the kernel reference or flash.',
    ],
  ])('%j is wrong usage', (flags, sentence) => {
    const { out, err, code } = generate(...flags);
    expect([out, err, code]).toEqual(['', `touchstone: ${sentence}\n`, 2]);
  });

  it('ends with code 1 where a device cannot be had, before any work', () => {
    const nothing = { LD_LIBRARY_PATH: '', VK_ICD_FILENAMES: '/nowhere.json', VK_DRIVER_FILES: '/nowhere.json' };
    const { out, err, code } = touchstone(['generate', 'It', '--kernel', 'gpu', '--device', 'webgpu'], '', nothing);
    expect([out, code]).toEqual(['', 1]);
    expect(err).toMatch(/touchstone: Device webgpu: .*; install .*, or choose --device wasm\.\n$/);
  });
});
