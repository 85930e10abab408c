/** Float32 numbers in a buffer of a GPU. */
import type { DeviceArray } from './device.js';
import type { GpuBuffer } from './gpujs.js';
import type { WebGpu } from './webgpu-device.js';

/** A buffer as an argument of a kernel: dims[0] is the innermost. */
export interface GpuView {
  readonly buffer: GpuBuffer;
  readonly dims: readonly number[];
}

/** Bytes of a float32. */
export const FLOAT = 4;

export class GpuArray implements DeviceArray {
  length = 0;
  private readonly gpu: WebGpu;
  private buffer: GpuBuffer | null = null;

  constructor(gpu: WebGpu) {
    this.gpu = gpu;
  }

  write(at: number, values: Float32Array): void {
    if (values.length === 0) return;
    this.gpu.context.device.queue.writeBuffer(this.buffer!, at * FLOAT, values);
    this.gpu.traffic.uploaded += values.byteLength;
  }

  resize(length: number, keep: number): void {
    const before = this.buffer;
    const buffer = this.gpu.newBuffer(length);
    if (before && keep > 0) this.copy(before, 0, buffer, 0, keep);
    this.free();
    this.buffer = buffer;
    this.gpu.bytes += length * FLOAT;
    this.length = length;
  }

  /** By way of another buffer: a copy from a buffer to itself is not allowed. */
  move(from: number, to: number, count: number): void {
    if (count === 0) return;
    const between = this.gpu.newBuffer(count);
    this.copy(this.buffer!, from, between, 0, count);
    this.copy(between, 0, this.buffer!, to, count);
    between.destroy();
  }

  private copy(source: GpuBuffer, from: number, target: GpuBuffer, to: number, count: number): void {
    const encoder = this.gpu.context.device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, from * FLOAT, target, to * FLOAT, count * FLOAT);
    this.gpu.context.device.queue.submit([encoder.finish()]);
  }

  free(): void {
    this.buffer?.destroy();
    this.buffer = null;
    this.gpu.bytes -= this.length * FLOAT;
    this.length = 0;
  }

  view(dims: readonly number[]): GpuView {
    return { buffer: this.buffer!, dims };
  }
}
