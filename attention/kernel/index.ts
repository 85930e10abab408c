import { flash } from './flash.js';
import type { DeviceChoice } from './gpu/devices.js';
import { gpuKernel } from './gpu/gpu.js';
import type { AttentionKernel } from './kernel.js';
import { reference } from './reference.js';

/** Kernels that can be chosen by name. */
export const KERNELS = { reference, flash, gpu: gpuKernel('auto') } satisfies Record<string, AttentionKernel>;

export type KernelName = keyof typeof KERNELS;

/** A kernel on a device of choice: `gpu` alone runs on one. */
export function kernelOn(name: KernelName, device: DeviceChoice): AttentionKernel {
  return name === 'gpu' ? gpuKernel(device) : KERNELS[name];
}
