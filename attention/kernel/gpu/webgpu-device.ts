/** A GPU through WebGPU: natively in a browser, through npm's `webgpu` in Node. Arrays and results stay on it until they are read. */
import { DeviceError } from '../../../src/errors.js';
import type { AttentionCall } from '../kernel.js';
import { type Device, kernelCache, keyOf, noteRan, Traffic, Turns, type View } from './device.js';
import { foldOnGpu } from './fold-on-gpu.js';
import type { Folded } from './folded.js';
import { FLOAT, GpuArray, type GpuView } from './gpu-array.js';
import {
  type AdapterInfo,
  type BufferHandle,
  ERROR_KINDS,
  type GpuBuffer,
  type GpuJs,
  type GpuJsKernel,
  loadGpuJs,
  type WebGpuContext,
} from './gpujs.js';
import { type KeyGroup, Keys } from './keys.js';
import { provideWebGpu } from './node-webgpu.js';
import type { Packing } from './queries.js';
import type { KernelSource } from './source.js';

const MOST_KERNELS = 256;

/** GPUBufferUsage: STORAGE, COPY_SRC and COPY_DST. */
const USAGE = 0x80 | 0x4 | 0x8;

export class WebGpu implements Device<GpuArray> {
  readonly name = 'webgpu';
  readonly about: string;
  readonly software: boolean;
  readonly traffic = new Traffic();
  readonly ran = new Set<string>();
  bytes = 0;
  readonly keys: Keys<GpuArray> = new Keys(this);
  /** Where `fold` uploads queries to. */
  readonly queries: GpuArray;
  readonly context: WebGpuContext;
  private readonly kernels = kernelCache(MOST_KERNELS);
  private readonly turns = new Turns();
  private readonly gpuJs: GpuJs;
  private readonly gpu: InstanceType<GpuJs['GPU']>;
  private readonly giveBack: () => void;
  /** The first error that no call has thrown. What has been computed since is worth nothing. */
  private fault: string | null = null;

  private constructor(gpuJs: GpuJs, context: WebGpuContext, giveBack: () => void) {
    const { info } = context.adapter;
    this.about = aboutOf(info);
    this.software = isSoftware(info);
    this.gpuJs = gpuJs;
    this.context = context;
    this.giveBack = giveBack;
    context.device.onuncapturederror = ({ error }) => {
      this.fault ??= error.message;
    };
    this.gpu = new gpuJs.GPU({ mode: 'webgpu' });
    this.queries = this.newArray();
  }

  /** @throws DeviceError, saying what is missing and what would help, if there is none */
  static async open(quietly: boolean): Promise<WebGpu> {
    const gpuJs = await loadGpuJs();
    const giveBack = await provideWebGpu(quietly);
    try {
      return new WebGpu(gpuJs, await gpuJs.WebGPUContext.acquire(), giveBack);
    } catch (error) {
      await gpuJs.WebGPUContext.destroy();
      giveBack();
      const reason = /no adapter is available/.test((error as Error).message)
        ? 'WebGPU offers no GPU'
        : firstSentence(error);
      throw new DeviceError(
        `Device webgpu: ${reason}; install a Vulkan, Metal or D3D12 driver for the GPU, or choose --device wasm.`,
      );
    }
  }

  newArray(): GpuArray {
    return new GpuArray(this);
  }

  fold(call: AttentionCall, packing: Packing, q: View, group: KeyGroup<GpuArray>, folded: Folded): Promise<void> {
    if (q.data.length > this.queries.length) this.queries.resize(q.data.length, 0);
    this.queries.write(0, q.data);
    return foldOnGpu(this, call, packing, this.queries.view(q.dims), group, folded);
  }

  exclusive<Result>(use: () => Promise<Result>): Promise<Result> {
    return this.turns.take(() => this.watched(use));
  }

  /** WebGPU checks what it is given later: a call that fails leaves the results of an earlier one. @throws DeviceError if anything went wrong */
  private async watched<Result>(use: () => Promise<Result>): Promise<Result> {
    this.expectSound();
    const { device } = this.context;
    for (const kind of ERROR_KINDS) device.pushErrorScope(kind);
    try {
      return await use();
    } finally {
      for (const _ of ERROR_KINDS) await this.note(device.popErrorScope());
      this.expectSound();
    }
  }

  private async note(found: Promise<{ readonly message: string } | null>): Promise<void> {
    const error = await found.catch(() => null); // the device was lost
    if (error) this.fault ??= error.message;
  }

  /** Enqueues a kernel. @param output x first @returns its result, which the next run of the same source overwrites */
  async run(
    source: KernelSource,
    output: readonly number[],
    views: readonly GpuView[],
    scalars: readonly number[],
  ): Promise<GpuView> {
    this.expectSound();
    const handles = views.map(({ buffer, dims }) => this.handle(buffer, dims));
    const args = [...handles, ...scalars];
    const kernel = await this.kernelFor(source, output, args);
    kernel.setOutput(output);
    const result = await this.sound(() => kernel(...args) as Promise<BufferHandle>);
    noteRan(kernel, source, this);
    for (const handle of [...handles, result]) handle.delete(); // the buffers stay: each has an owner that counts for one
    return { buffer: result.buffer, dims: [source.lanes * output[0]!, ...output.slice(1)] };
  }

  /** Waits for a result and brings it to the host. */
  async read({ buffer, dims }: GpuView): Promise<Float32Array> {
    const handle = this.handle(buffer, [dims.reduce((product, length) => product * length, 1)]);
    try {
      const data = await this.sound(() => handle.toArray() as Promise<Float32Array>);
      this.traffic.downloaded += data.byteLength;
      return data;
    } finally {
      handle.delete();
    }
  }

  private async sound<Result>(act: () => Promise<Result>): Promise<Result> {
    try {
      return await act();
    } finally {
      this.expectSound(); // in place of an error that follows from a fault
    }
  }

  /** @throws DeviceError if it was lost, or has refused something: results may be those of an earlier call then */
  private expectSound(): void {
    const why = this.context.isLost ? 'the device was lost' : this.fault?.split('\n')[0];
    if (why === undefined) return;
    throw new DeviceError(`Device webgpu: ${why}; close it and run again, with fewer tokens, or choose --device wasm.`);
  }

  private handle(buffer: GpuBuffer, output: readonly number[]): BufferHandle {
    const { context, reader: kernel } = this;
    return new this.gpuJs.WebGPUBufferResult({ buffer, output, componentCount: 1, context, kernel });
  }

  /** Any compiled kernel: it is asked to read buffers. */
  private reader: unknown = null;

  private async kernelFor(
    source: KernelSource,
    output: readonly number[],
    args: readonly unknown[],
  ): Promise<GpuJsKernel> {
    const key = keyOf(source, []);
    const known = this.kernels.get(key);
    if (known) return known;
    const from = performance.now();
    const argumentTypes = Object.fromEntries([
      ...source.arrays.map((name) => [name, 'WebGPUBuffer']),
      ...source.scalars.map((name) => [name, 'Float']),
    ]);
    const settings = { output, constants: source.constants, argumentTypes, dynamicOutput: true, pipeline: true };
    const kernel = this.gpu.createKernel(source.text, settings);
    await kernel.kernel.build(...args);
    this.reader ??= kernel.kernel;
    this.traffic.compiled++;
    this.traffic.compileMs += performance.now() - from;
    this.kernels.set(key, kernel);
    return kernel;
  }

  /** @throws DeviceError for a buffer that is larger than the GPU allows */
  newBuffer(length: number): GpuBuffer {
    const { maxStorageBufferBindingSize, maxBufferSize } = this.context.device.limits;
    const [size, most] = [Math.max(length, 1) * FLOAT, Math.min(maxStorageBufferBindingSize, maxBufferSize)];
    if (size > most) {
      throw new DeviceError(
        `Device webgpu: a layer's rows need ${size} bytes in one buffer, and ${this.about} allows ${most}; ` +
          'keep fewer tokens, choose a smaller --kv-dtype, or --device wasm.',
      );
    }
    const buffer = this.context.device.createBuffer({ size, usage: USAGE });
    this.handle(buffer, [length]); // gpu.js destroys a buffer with its last handle: this one stays
    return buffer;
  }

  close(): Promise<void> {
    return this.turns.take(async () => {
      this.keys.close();
      await this.gpu.destroy();
      await this.gpuJs.WebGPUContext.destroy();
      await this.context.device.lost; // a process that ends before it has may crash
      this.giveBack();
    });
  }
}

function aboutOf({ vendor, architecture, description, device }: AdapterInfo): string {
  return [...new Set([vendor, architecture, description || device].filter((part) => part !== ''))].join(' ');
}

/** A driver that computes on the processor, or Dawn's that computes nothing. */
function isSoftware(info: AdapterInfo): boolean {
  return info.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe|null.?backend/i.test(aboutOf(info));
}

function firstSentence(error: unknown): string {
  return (error as Error).message.split(/\.\s|\n/)[0]!.replace(/\.$/, '');
}
