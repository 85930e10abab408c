import { expect, it } from 'vitest';
import { closeDevices, openDevice } from '../../attention/kernel/gpu/devices.js';
import { gpuKernel } from '../../attention/kernel/gpu/gpu.js';
import type { WebGpu } from '../../attention/kernel/gpu/webgpu-device.js';
import { DeviceError } from '../../src/errors.js';
import { ADVERSARIES } from '../support/adversarial.js';
import { describeWith, missingWebGpu } from '../support/parts.js';
import { deviceSuite } from './device-suite.js';

const missing = await missingWebGpu();

describeWith(missing, 'device webgpu', () => {
  deviceSuite('webgpu');

  it('is not taken from one that asked for it by another that asks for any', async () => {
    await closeDevices();
    const kernels = [gpuKernel('auto'), gpuKernel('webgpu'), gpuKernel('auto')];
    await Promise.all(kernels.map((kernel) => kernel.attend([ADVERSARIES[0]!.call])));
    expect((await gpuKernel('webgpu').device!()).ran).toEqual(['webgpu']);
  });

  /** Results stay in buffers, so what fails must not go by unseen: the last call's would be taken for this one's. */
  it('tells of what the device refuses, and of its loss; closed, it can be had again', async () => {
    const kernel = gpuKernel('webgpu');
    const attend = () => kernel.attend([ADVERSARIES[2]!.call]);
    await attend();
    const opened = async () => (await openDevice('webgpu')).device as WebGpu;
    const gpu = await opened();
    gpu.queries.view([1]).buffer.destroy();
    await expect(attend()).rejects.toThrow('used in submit while destroyed');
    await expect(attend()).rejects.toBeInstanceOf(DeviceError);
    await closeDevices();
    await attend();
    const { device } = (await opened()).context as unknown as { device: { destroy(): void; lost: Promise<unknown> } };
    device.destroy();
    await device.lost;
    await expect(attend()).rejects.toThrow('Device webgpu: the device was lost');
    await closeDevices();
    await attend();
  });
});
