/** The self-test of a kernel that runs on a device: one decode step is held against the oracle, and then repeated to see how fast it is. */
import type { AttentionKernel } from '../../attention/kernel/kernel.js';
import { type Moved, Scratch } from '../../attention/kernel/scratch.js';
import { type Floats, flat } from '../tensor/tensor.js';
import { beginStep, type TestCase, type TestedDtype } from './device-case.js';

export interface DeviceCheck {
  readonly kvDtype: TestedDtype;
  /** The largest difference from the oracle, at the first step and the last, in unit roundoffs of the largest |value|. NaN where a result is. */
  readonly error: number;
  /** What the kernel declares, in the same unit. */
  readonly bound: number;
  readonly passed: boolean;
  /** Steps that were timed, and what all of them took. */
  readonly steps: number;
  readonly ms: number;
  /** Rows that a step reads, as the cache keeps them. */
  readonly kvBytes: number;
  /** What a step moves. */
  readonly moved: Moved;
  /** Kernels that had to be compiled. */
  readonly compiled: number;
  readonly compileMs: number;
}

/** 2^-24 */
const UNIT = 2 ** -24;

/**
 * @param seconds that all cases are repeated for; each at least once
 * @param pause lets signals in between steps
 * @throws what the kernel throws
 */
export async function testDevice(
  kernel: AttentionKernel,
  cases: readonly TestCase[],
  seconds: number,
  pause: () => Promise<void>,
): Promise<DeviceCheck[]> {
  const checks: DeviceCheck[] = [];
  for (const each of cases) {
    const { kvDtype, kvBytes } = each;
    const { first, ...compiled } = await firstStep(kernel, each);
    const { last, ...timed } = await repeated(kernel, each, (1000 * seconds) / cases.length, pause);
    const error = Math.max(errorOf(first, each), errorOf(last, each));
    const bound = kernel.bound(each.shape.tokens, each.scores);
    checks.push({ kvDtype, kvBytes, error, bound, passed: error <= bound, ...timed, ...compiled });
  }
  return checks;
}

/** In unit roundoffs of the largest |value|. */
function errorOf(found: Floats, { expected, largestValue }: TestCase): number {
  let most = 0;
  for (const [i, x] of found.entries()) most = Math.max(most, Math.abs(x - expected[i]!));
  return most / (UNIT * largestValue);
}

/** The step that uploads all rows, and compiles what is not compiled yet. */
async function firstStep(kernel: AttentionKernel, of: TestCase) {
  const before = await kernel.device?.();
  const first = await step(kernel, of, new Scratch());
  const after = await kernel.device?.();
  const added = (what: 'compiled' | 'compileMs') => (after?.[what] ?? 0) - (before?.[what] ?? 0);
  return { first, compiled: added('compiled'), compileMs: added('compileMs') };
}

/** Decodes for so long. All other rows are on the device by now. */
async function repeated(kernel: AttentionKernel, of: TestCase, leastMs: number, pause: () => Promise<void>) {
  const scratch = new Scratch();
  const from = performance.now();
  let [steps, ms] = [0, 0];
  let last: Floats;
  do {
    last = await step(kernel, of, scratch);
    await pause();
    steps++;
    ms = performance.now() - from;
  } while (ms < leastMs);
  const { uploaded, downloaded, staged } = scratch.moved;
  const moved = { uploaded: uploaded / steps, downloaded: downloaded / steps, staged: staged / steps };
  return { last, steps, ms, moved };
}

/** Takes the step's rows back afterwards, so that the next step is the same one. */
async function step(kernel: AttentionKernel, of: TestCase, scratch: Scratch): Promise<Floats> {
  const call = beginStep(of);
  try {
    await kernel.attend([call], scratch);
    return flat(call.out_THV);
  } finally {
    of.cache.abort();
  }
}
