import { flash } from './flash.js';
import type { AttentionKernel } from './kernel.js';
import { reference } from './reference.js';

/** Kernels that can be chosen by name. */
export const KERNELS = { reference, flash } satisfies Record<string, AttentionKernel>;

export type KernelName = keyof typeof KERNELS;
