/** What `touchstone bench attention` has measured: the object that --json prints, and what its tables and its plot ask of it. */
import type { BenchStore } from '../src/reference/attention-bench/attention-pass.js';
import type { BenchedKernel, LeftOut } from '../src/reference/attention-bench/contenders.js';
import type { KernelTimes } from '../src/reference/attention-bench/entrant.js';
import type { BenchCell } from '../src/reference/attention-bench/index.js';
import type { PassKind } from '../src/reference/serving.js';

export interface AttentionBench {
  readonly machine: {
    readonly node: string;
    readonly system: string;
    readonly processor: string;
    readonly processors: number;
  };
  /** Seconds are those of a cell. */
  readonly settings: BenchStore & { readonly seconds: number };
  readonly kernels: readonly BenchedKernel[];
  /** Kernels that were timed nowhere, and why. */
  readonly leftOut: readonly LeftOut[];
  readonly cells: readonly BenchCell[];
}

export const PASSES: readonly PassKind[] = ['decode', 'prefill'];

/** A driver that offers the processor as a GPU. */
export function isEmulation({ device }: BenchedKernel): boolean {
  return device !== null && device.name === 'webgpu' && device.software;
}

export function timesOf(cell: BenchCell, kernel: string): KernelTimes | null {
  return cell.times.find((times) => times.kernel === kernel) ?? null;
}

export function hasReference(kernels: readonly BenchedKernel[]): boolean {
  return kernels.some(({ name }) => name === 'reference');
}

/** Kernels without any time. */
export function unmeasuredOf<Name extends string>(names: readonly Name[], cells: readonly BenchCell[]): Name[] {
  return names.filter((name) => cells.every((cell) => timesOf(cell, name) === null));
}

/** The cells and kernels whose results lie outside of what the kernel promises. */
export function wrongOf(cells: readonly BenchCell[]): { cell: BenchCell; kernel: string }[] {
  return cells.flatMap((cell) =>
    cell.times
      .filter(({ agreement }) => agreement && !(agreement.difference <= agreement.bound))
      .map(({ kernel }) => ({ cell, kernel })),
  );
}

/** Calls of which a median says something. */
export const ENOUGH_CALLS = 3;

export const tokensText = (tokens: number) => tokens.toLocaleString('en-US');

/** `gpt2 12/12/64`; a shape without a name is its heads. */
export function shapeText({ shape, heads }: BenchCell): string {
  return shape === heads ? heads : `${shape} ${heads}`;
}

/** Three significant digits, and no fewer than the whole number has. */
export function figures(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en-US') : Number(value.toPrecision(3)).toString();
}
