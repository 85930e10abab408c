/** The kernels that are timed against each other, and those that cannot be had here. */
import { flash } from '../../../attention/kernel/flash.js';
import { gpuKernel } from '../../../attention/kernel/gpu/gpu.js';
import type { AttentionKernel, DeviceReport } from '../../../attention/kernel/kernel.js';
import { reference } from '../../../attention/kernel/reference.js';
import { DeviceError } from '../../errors.js';

/** By the names of their columns: the kernel gpu goes by its devices. */
export const BENCH_KERNELS = {
  reference,
  flash,
  cpu: gpuKernel('cpu'),
  wasm: gpuKernel('wasm'),
  webgpu: gpuKernel('webgpu'),
} satisfies Record<string, AttentionKernel>;

export type BenchKernelName = keyof typeof BENCH_KERNELS;

/** Those that are timed where nobody asks for others. gpu.js as plain JavaScript is what WebAssembly falls back to, and slower than both. */
export const DEFAULT_KERNELS: readonly BenchKernelName[] = ['reference', 'flash', 'wasm', 'webgpu'];

export interface Contender {
  readonly name: string;
  readonly kernel: AttentionKernel;
}

export interface LeftOut {
  readonly kernel: string;
  /** A sentence. */
  readonly reason: string;
}

/** Gets the devices of kernels. @param required that a device which cannot be had is an error @throws DeviceError */
export async function contendersOf(
  kernels: Readonly<Record<string, AttentionKernel>>,
  required: boolean,
): Promise<{ contenders: Contender[]; leftOut: LeftOut[] }> {
  const contenders: Contender[] = [];
  const leftOut: LeftOut[] = [];
  for (const [name, kernel] of Object.entries(kernels)) {
    try {
      await kernel.device?.();
      contenders.push({ name, kernel });
    } catch (error) {
      if (required || !(error instanceof DeviceError)) throw error;
      leftOut.push({ kernel: name, reason: error.message });
    }
  }
  return { contenders, leftOut };
}

/** A kernel, and what it ran on; null: on no device. */
export interface BenchedKernel {
  readonly name: string;
  readonly device: DeviceReport | null;
}

/** Asked after the run: a device knows then what it has compiled, and what really ran it. */
export async function benchedKernels(contenders: readonly Contender[]): Promise<BenchedKernel[]> {
  return Promise.all(contenders.map(async ({ name, kernel }) => ({ name, device: (await kernel.device?.()) ?? null })));
}
