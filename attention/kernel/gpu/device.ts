/** What a kernel needs of a device: arrays that stay there, and compiled sources. */
import { DeviceError } from '../../../src/errors.js';
import type { AttentionCall } from '../kernel.js';
import type { Folded } from './folded.js';
import type { GpuJsKernel, Mode } from './gpujs.js';
import type { KeyGroup, Keys } from './keys.js';
import type { Packing } from './queries.js';
import { Recent } from './recent.js';
import type { KernelSource } from './source.js';

/** `webgpu`: a GPU, or what a driver offers as one. `wasm`, `cpu`: the processor, through WebAssembly or JavaScript. */
export type DeviceName = 'webgpu' | 'wasm' | 'cpu';

export const DEVICE_NAMES = ['webgpu', 'wasm', 'cpu'] as const satisfies readonly DeviceName[];

export const MODES: Readonly<Record<DeviceName, Mode>> = { webgpu: 'webgpu', wasm: 'webasm', cpu: 'cpu' };

/** Float32 numbers on a device. */
export interface DeviceArray {
  readonly length: number;
  write(at: number, values: Float32Array): void;
  /** Holds `length` numbers from now on; the first `keep` are as they were, others are any. @throws DeviceError if it has no room */
  resize(length: number, keep: number): void;
  /** Copies within the device. */
  move(from: number, to: number, count: number): void;
  /** Gives the memory back. The array is empty afterwards. */
  free(): void;
}

/** Numbers of the host with their dimensions, as a kernel sees them: dims[0] is the innermost. */
export interface View {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** What went to a device and came from it, in bytes, and what compiling took. */
export class Traffic {
  uploaded = 0;
  downloaded = 0;
  /** What gpu.js copied on the device's side of that line: arguments and results of WebAssembly, whose kernels have memories of their own. */
  staged = 0;
  compiled = 0;
  compileMs = 0;
}

/** A device that was had, and the kind of arrays that it holds. */
export interface Device<Held extends DeviceArray = DeviceArray> {
  readonly name: DeviceName;
  /** What it is: an adapter's description, ... */
  readonly about: string;
  /** It computes on the processor, whatever it looks like. */
  readonly software: boolean;
  readonly traffic: Traffic;
  /** What has really run its kernels, as they say themselves. */
  readonly ran: Set<string>;
  /** Bytes of its arrays that live now. */
  readonly bytes: number;
  newArray(): Held;
  /** Rows that lie on it. */
  readonly keys: Keys<Held>;
  /** Goes on with what is known of some queries, over the rows of a group. @param q of `packedQueries` */
  fold(call: AttentionCall, packing: Packing, q: View, group: KeyGroup<Held>, folded: Folded): Promise<void>;
  /** Runs `use` when no other use is under way: kernels write their results where the last one did. */
  exclusive<Result>(use: () => Promise<Result>): Promise<Result>;
  close(): Promise<void>;
}

/** One use after another. */
export class Turns {
  private last: Promise<unknown> = Promise.resolve();

  async take<Result>(use: () => Promise<Result>): Promise<Result> {
    const turn = this.last.then(use, use);
    this.last = turn.catch(() => {});
    return turn;
  }
}

/** Compiled kernels by all that they are compiled for (`keyOf`). */
export function kernelCache(limit: number): Recent<GpuJsKernel> {
  return new Recent(limit, ({ kernel }) => kernel.destroy());
}

/** Tells constants apart by identity: those of a codec's table are the same array wherever it is used. */
const constantIds = new WeakMap<Float32Array, number>();
let constants = 0;

export function keyOf({ text, constants: given }: KernelSource, shape: readonly unknown[]): string {
  const ids = Object.values(given).map((constant) => {
    if (!constantIds.has(constant)) constantIds.set(constant, constants++);
    return constantIds.get(constant);
  });
  return JSON.stringify([text, ids, shape]);
}

/** Asks a kernel what has run it: gpu.js goes over to another backend without a word. @throws DeviceError if it is not the one that was asked for */
export function noteRan(
  { kernel }: GpuJsKernel,
  source: KernelSource,
  { name, ran }: Pick<Device, 'name' | 'ran'>,
): void {
  const { mode } = kernel.constructor;
  ran.add(mode);
  if (mode === MODES[name]) return;
  throw new DeviceError(
    `Device ${name}: gpu.js ran the kernel ${source.name} as ${mode} instead (${kernel.fallbackReason ?? 'it gives no reason'}); choose --device cpu, or another kernel.`,
  );
}
