/** What gpu.js does without a word, touchstone does not. */
import { afterAll, expect, it } from 'vitest';
import { noteRan } from '../../attention/kernel/gpu/device.js';
import { closeDevices, openDevice, openedDevice } from '../../attention/kernel/gpu/devices.js';
import { gpuKernel } from '../../attention/kernel/gpu/gpu.js';
import type { GpuJsKernel } from '../../attention/kernel/gpu/gpujs.js';
import type { HostDevice } from '../../attention/kernel/gpu/host-device.js';
import type { KernelSource } from '../../attention/kernel/gpu/source.js';
import { DeviceError } from '../../src/errors.js';
import { tensor } from '../../src/tensor/tensor.js';
import { ADVERSARIES } from '../support/adversarial.js';

afterAll(closeDevices);

const source: KernelSource = { name: 'scores', text: '', arrays: [], scalars: [], constants: {}, lanes: 1 };

it('a kernel that another backend has run is an error with the reason', async () => {
  const { device } = await openDevice('wasm');
  const fallen = { kernel: { constructor: { mode: 'cpu' }, fallbackReason: 'no SIMD' } } as unknown as GpuJsKernel;
  const note = () => noteRan(fallen, source, device);
  expect(note).toThrow(DeviceError);
  expect(note).toThrow('Device wasm: gpu.js ran the kernel scores as cpu instead (no SIMD); choose --device cpu');
  expect([...device.ran]).toContain('cpu'); // and is told of
});

it('a kernel that WebAssembly does not take is not taken by JavaScript in its place', async () => {
  const device = (await openDevice('wasm')).device as HostDevice;
  const text = 'function (values) { return this.constants.missing[this.thread.x] + values[this.thread.x]; }';
  const views = [{ data: new Float32Array(8), dims: [8] }];
  expect(() => device.run({ ...source, text, arrays: ['values'] }, [8], views, [])).toThrow();
});

it('says what auto has come to, once it has', async () => {
  await closeDevices();
  expect([openedDevice('auto'), openedDevice('cpu'), gpuKernel('auto').name]).toEqual([null, 'cpu', 'gpu']);
  const { device } = await openDevice('auto');
  expect(gpuKernel('auto').name).toBe(`gpu on ${device.name}`);
});

it('positions that float32 does not tell apart are refused', async () => {
  const { call } = ADVERSARIES[0]!;
  const far = { ...call, positions: Int32Array.of(2 ** 24 + 1) };
  await expect(gpuKernel('cpu').attend([far])).rejects.toThrow('positions are exact up to 16777216, got 16777217');
});

it('tensors of float64 are refused', async () => {
  const { call } = ADVERSARIES[0]!;
  const double = { ...call, q_THK: tensor(new Float64Array(8), [1, 1, 8]) };
  await expect(gpuKernel('cpu').attend([double])).rejects.toThrow('Kernel gpu computes in float32');
});
