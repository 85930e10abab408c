/** Gives a process WebGPU that has none of its own. */
import { DeviceError } from '../../../src/errors.js';

interface NodeWebGpu {
  create(flags: readonly string[]): unknown;
  readonly globals: Record<string, unknown>;
}

/** Dawn's, one a process: it crashes where an instance is collected while a device of its is still ending. */
let instance: unknown = null;

/**
 * Sees to it that `navigator.gpu` is there: a browser has it, Node gets it from the optional package `webgpu`.
 * @param quietly nothing may be written to standard error where there is no GPU, at the price of another process that is asked first
 * @returns takes it away again @throws DeviceError if the browser has none, the package is missing or does not load, or there is no GPU
 */
export async function provideWebGpu(quietly: boolean): Promise<() => void> {
  const scope = globalThis as { navigator?: { gpu?: unknown } };
  if (scope.navigator?.gpu) return () => {};
  expectNode();
  const { create, globals } = await loadPackage();
  const { expectAdapter, expectVulkanLoader } = await import('./vulkan.js'); // which a browser could not load
  expectVulkanLoader();
  if (quietly) await expectAdapter();
  Object.assign(globalThis, globals);
  instance ??= create([]);
  if (scope.navigator) {
    const { navigator } = scope;
    navigator.gpu = instance; // Node 21 and later have a navigator without it
    return () => {
      delete navigator.gpu;
    };
  }
  Object.defineProperty(scope, 'navigator', { value: { gpu: instance }, configurable: true, writable: true });
  return () => {
    delete scope.navigator;
  };
}

/** @throws DeviceError in a browser, which no package can help */
function expectNode(): void {
  const { process, isSecureContext } = globalThis as Partial<typeof globalThis> & { isSecureContext?: boolean };
  if (process?.versions?.node) return;
  const why =
    isSecureContext === false
      ? 'browsers offer WebGPU only to pages from https or localhost; serve this one from there'
      : 'this browser has no WebGPU; use one that has';
  throw new DeviceError(`Device webgpu: ${why}, or choose --device wasm.`);
}

async function loadPackage(): Promise<NodeWebGpu> {
  try {
    return (await import('webgpu')) as unknown as NodeWebGpu;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND';
    throw new DeviceError(
      missing
        ? 'Device webgpu: Node needs the optional package webgpu; npm install webgpu, or choose --device wasm.'
        : `Device webgpu: the package webgpu does not load here (${(error as Error).message.split('\n')[0]}); choose --device wasm.`,
    );
  }
}
