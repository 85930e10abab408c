/** The devices whose memory is the host's: gpu.js as WebAssembly, and as JavaScript. */
import { DeviceError } from '../../../src/errors.js';
import type { AttentionCall } from '../kernel.js';
import {
  type Device,
  type DeviceArray,
  kernelCache,
  keyOf,
  MODES,
  noteRan,
  Traffic,
  Turns,
  type View,
} from './device.js';
import { foldOnHost } from './fold-on-host.js';
import type { Folded } from './folded.js';
import { type GpuJs, type GpuJsKernel, keepFlat, loadGpuJs } from './gpujs.js';
import { type KeyGroup, Keys } from './keys.js';
import type { Packing } from './queries.js';
import type { KernelSource } from './source.js';

/** Each compiled module has a memory of its own, and reserves gigabytes of addresses. */
const MOST_KERNELS = 256;

export class HostDevice implements Device<HostArray> {
  readonly name: 'wasm' | 'cpu';
  readonly about: string;
  readonly software = true;
  readonly traffic = new Traffic();
  readonly ran = new Set<string>();
  bytes = 0;
  readonly keys: Keys<HostArray> = new Keys(this);
  private readonly kernels = kernelCache(MOST_KERNELS);
  private readonly turns = new Turns();
  private readonly gpuJs: GpuJs;
  private readonly gpu: InstanceType<GpuJs['GPU']>;

  private constructor(name: 'wasm' | 'cpu', gpuJs: GpuJs) {
    this.name = name;
    this.about = name === 'wasm' ? 'WebAssembly, 128-bit SIMD, one thread' : 'JavaScript, one thread';
    this.gpuJs = gpuJs;
    this.gpu = new gpuJs.GPU({ mode: MODES[name] });
  }

  /** @throws DeviceError if there is none */
  static async open(name: 'wasm' | 'cpu'): Promise<HostDevice> {
    try {
      return new HostDevice(name, await loadGpuJs());
    } catch (error) {
      const help = name === 'wasm' ? 'choose --device cpu' : 'choose another kernel';
      throw new DeviceError(`Device ${name}: gpu.js does not offer it here (${(error as Error).message}); ${help}.`);
    }
  }

  newArray(): HostArray {
    return new HostArray(this);
  }

  async fold(
    call: AttentionCall,
    packing: Packing,
    q: View,
    group: KeyGroup<HostArray>,
    folded: Folded,
  ): Promise<void> {
    foldOnHost(this, call, packing, q, group, folded);
  }

  exclusive<Result>(use: () => Promise<Result>): Promise<Result> {
    return this.turns.take(use);
  }

  /** @param output of the kernel, x first @returns its results, lanes innermost, in an array of their own */
  run(
    source: KernelSource,
    output: readonly number[],
    views: readonly View[],
    scalars: readonly number[],
  ): Float32Array {
    const args = [...views.map(({ data, dims }) => this.gpuJs.input(data, dims)), ...scalars];
    const kernel = this.kernelFor(source, output, views, args);
    const found = flatResult(kernel(...args), source.lanes, output);
    noteRan(kernel, source, this);
    if (this.name === 'wasm') {
      this.traffic.staged += views.reduce((sum, { data }) => sum + data.byteLength, 0) + found.byteLength;
    }
    return found;
  }

  private kernelFor(
    source: KernelSource,
    output: readonly number[],
    views: readonly View[],
    args: readonly unknown[],
  ): GpuJsKernel {
    const key = keyOf(source, [output, views.map(({ dims }) => dims)]);
    const known = this.kernels.get(key);
    if (known) return known;
    const from = performance.now();
    const argumentTypes = Object.fromEntries([
      ...source.arrays.map((name) => [name, 'Input']),
      ...source.scalars.map((name) => [name, 'Float']),
    ]);
    const kernel = this.gpu.createKernel(source.text, { output, constants: source.constants, argumentTypes });
    kernel.kernel.build(...args);
    if (this.name === 'wasm') keepFlat(kernel);
    this.traffic.compiled++;
    this.traffic.compileMs += performance.now() - from;
    this.kernels.set(key, kernel);
    return kernel;
  }

  close(): Promise<void> {
    return this.turns.take(() => {
      this.keys.close();
      return this.gpu.destroy();
    });
  }
}

/** The results of a kernel in one array: the JavaScript backend nests them. */
function flatResult(found: unknown, lanes: number, output: readonly number[]): Float32Array {
  if (found instanceof Float32Array) return found;
  const flat = new Float32Array(output.reduce((product, length) => product * length, lanes));
  let at = 0;
  const take = (part: unknown): void => {
    if (typeof part === 'number') flat[at++] = part;
    else for (const inner of part as Iterable<unknown>) take(inner);
  };
  take(found);
  return flat;
}

/** An array of the host. */
export class HostArray implements DeviceArray {
  length = 0;
  private readonly device: HostDevice;
  private held = new Float32Array(0);

  constructor(device: HostDevice) {
    this.device = device;
  }

  write(at: number, values: Float32Array): void {
    this.held.set(values, at);
    this.device.traffic.uploaded += values.byteLength;
  }

  resize(length: number, keep: number): void {
    const before = this.held;
    this.held = new Float32Array(length);
    this.held.set(before.subarray(0, keep));
    this.count(this.held.byteLength - before.byteLength);
    this.length = length;
  }

  move(from: number, to: number, count: number): void {
    this.held.copyWithin(to, from, from + count);
  }

  free(): void {
    this.count(-this.held.byteLength);
    this.held = new Float32Array(0);
    this.length = 0;
  }

  /** Numbers from `at` on, as many as the dimensions hold; beyond the end there are zeros. */
  view(at: number, dims: readonly number[]): View {
    const size = dims.reduce((product, length) => product * length, 1);
    const data = this.held.subarray(at, at + size);
    if (data.length === size) return { data, dims };
    const padded = new Float32Array(size);
    padded.set(data);
    return { data: padded, dims };
  }

  private count(bytes: number): void {
    this.device.bytes += bytes;
  }
}
