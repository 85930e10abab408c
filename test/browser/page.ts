/** What a page does for the tests in a browser. It is bundled, so nothing that it imports may need Node. */
import type { DeviceName } from '../../attention/kernel/gpu/device.js';
import { closeDevices, openDevice } from '../../attention/kernel/gpu/devices.js';
import { gpuKernel } from '../../attention/kernel/gpu/gpu.js';
import type { WebGpu } from '../../attention/kernel/gpu/webgpu-device.js';
import type { AttentionCall, AttentionKernel, DeviceReport } from '../../attention/kernel/kernel.js';
import { reference } from '../../attention/kernel/reference.js';
import { testCases } from '../../src/reference/device-case.js';
import { testDevice } from '../../src/reference/device-test.js';
import { flat } from '../../src/tensor/tensor.js';
import { ADVERSARIES, faulty, truthErrorOf } from '../support/adversarial.js';

type Fault = Parameters<typeof faulty>;

const SHAPE = { queryHeads: 8, keyValueHeads: 2, headDim: 16, tokens: 150 };

const page = {
  report: (device: DeviceName | 'auto'): Promise<DeviceReport> => gpuKernel(device).device!(),

  /** @param adversary its index */
  truthError: (device: DeviceName, adversary: number) => truthErrorOf(gpuKernel(device), ADVERSARIES[adversary]!),

  /** Which results are finite. */
  finite: async (device: DeviceName | 'reference', fault: Fault): Promise<boolean[]> => {
    const kernel: AttentionKernel = device === 'reference' ? reference : gpuKernel(device);
    const call = faulty(...fault);
    await kernel.attend([call]);
    return [...flat(call.out_THV)].map(Number.isFinite);
  },

  /** Decode steps over caches, whose rows stay on the device. */
  selfTest: async (device: DeviceName) => {
    const pause = async () => {};
    return testDevice(gpuKernel(device), await testCases(SHAPE, pause), 0, pause);
  },

  /** What a kernel says after a buffer has gone, again after that, after a new start, after the device has gone, and after a new start. */
  failures: async (): Promise<string[]> => {
    const { call } = ADVERSARIES[2]!;
    const said = [await outcomeOf(call)];
    (await openedWebGpu()).queries.view([1]).buffer.destroy();
    said.push(await outcomeOf(call), await outcomeOf(call));
    await closeDevices();
    said.push(await outcomeOf(call));
    const { device } = (await openedWebGpu()).context as unknown as {
      device: { destroy(): void; lost: Promise<void> };
    };
    device.destroy();
    await device.lost;
    said.push(await outcomeOf(call));
    await closeDevices();
    said.push(await outcomeOf(call));
    return said;
  },

  close: closeDevices,
};

async function openedWebGpu(): Promise<WebGpu> {
  return (await openDevice('webgpu')).device as WebGpu;
}

async function outcomeOf(call: AttentionCall): Promise<string> {
  try {
    await gpuKernel('webgpu').attend([call]);
    return 'fine';
  } catch (error) {
    return String(error);
  }
}

export type Page = typeof page;

Object.assign(globalThis, { touchstone: page });
