/**
 * What is used of gpu.js (2.24.1, pinned), with types of its own: the package's own lack half of it. Nothing else imports gpu.js, or knows of what is
 * private in it. It is loaded when it is first needed.
 */

/** How gpu.js names what runs a kernel. */
export type Mode = 'webgpu' | 'webasm' | 'cpu';

/** A kernel that was made, and is compiled when it first meets its arguments. */
export interface GpuJsKernel {
  (...args: unknown[]): unknown;
  setOutput(output: readonly number[]): unknown;
  /** What runs it: another one after gpu.js has fallen back. */
  readonly kernel: {
    readonly constructor: { readonly mode: string };
    readonly fallbackReason: string | null;
    build(...args: unknown[]): unknown;
    destroy(): void;
    /** Private: see `keepFlat`. */
    _shapeOutput(data: Float32Array): unknown;
  };
}

interface KernelSettings {
  readonly output: readonly number[];
  readonly constants?: Readonly<Record<string, Float32Array>>;
  readonly argumentTypes: Readonly<Record<string, string>>;
  readonly dynamicOutput?: boolean;
  readonly pipeline?: boolean;
}

/** A buffer of the GPU, as far as it is used here. */
export interface GpuBuffer {
  readonly size: number;
  destroy(): void;
}

export const ERROR_KINDS = ['validation', 'out-of-memory', 'internal'] as const;

type ErrorKind = (typeof ERROR_KINDS)[number];

interface WebGpuDevice {
  readonly limits: { readonly maxStorageBufferBindingSize: number; readonly maxBufferSize: number };
  readonly queue: {
    writeBuffer(buffer: GpuBuffer, byteOffset: number, data: Float32Array): void;
    submit(commands: readonly unknown[]): void;
  };
  /** Resolves when it has ended. */
  readonly lost: Promise<unknown>;
  /** Is told of errors that no call throws: WebGPU checks what it is given later. */
  onuncapturederror: ((event: { readonly error: { readonly message: string } }) => void) | null;
  /** What goes wrong from here on is kept for `popErrorScope`, the first of each kind, and is not written anywhere. */
  pushErrorScope(kind: ErrorKind): void;
  popErrorScope(): Promise<{ readonly message: string } | null>;
  createBuffer(options: { size: number; usage: number }): GpuBuffer;
  createCommandEncoder(): {
    copyBufferToBuffer(from: GpuBuffer, fromByte: number, to: GpuBuffer, toByte: number, bytes: number): void;
    finish(): unknown;
  };
}

export interface AdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly isFallbackAdapter?: boolean;
}

/** The one WebGPU device of the process. */
export interface WebGpuContext {
  readonly adapter: { readonly info: AdapterInfo };
  readonly device: WebGpuDevice;
  /** It has gone: reset, unplugged, or its driver has failed. */
  readonly isLost: boolean;
}

/** A buffer as an argument or a result of a kernel. It counts who holds the buffer, and the last `delete` destroys it. */
export interface BufferHandle {
  readonly buffer: GpuBuffer;
  toArray(): Promise<unknown>;
  delete(): void;
}

export interface GpuJs {
  readonly GPU: new (settings: {
    mode: Mode;
  }) => {
    createKernel(source: string, settings: KernelSettings): GpuJsKernel;
    destroy(): Promise<void>;
  };
  input(value: Float32Array, size: readonly number[]): unknown;
  readonly WebGPUContext: { acquire(): Promise<WebGpuContext>; destroy(): Promise<void> };
  readonly WebGPUBufferResult: new (settings: {
    buffer: GpuBuffer;
    output: readonly number[];
    componentCount: number;
    context: WebGpuContext;
    kernel: unknown;
  }) => BufferHandle;
}

/** Lets a compiled kernel give its result as one array: it would make nested ones of it, with an object for each cell. */
export function keepFlat({ kernel }: GpuJsKernel): void {
  kernel._shapeOutput = (data) => data;
}

export async function loadGpuJs(): Promise<GpuJs> {
  const module = (await import('gpu.js')) as unknown as { default?: GpuJs } & GpuJs;
  return module.default ?? module;
}
