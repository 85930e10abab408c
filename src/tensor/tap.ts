/** The seam at which a forward pass can be watched, and changed, from outside. */
import type { Tensor } from './tensor.js';

/**
 * Is shown a named value of the pass, rows of the new tokens first, and says with which value the pass goes on: the same one, or
 * another of its shape and precision. The pass may overwrite what it was given back, so a tap that keeps values keeps copies. Names
 * are those of `fixtures/TRACE.md`.
 */
export type Tap = (point: string, value: Tensor) => Tensor;

/** Lets everything pass. */
export const untapped: Tap = (_, value) => value;

/** The same tap, of points whose names begin with a prefix. */
export function tapWithin(tap: Tap, prefix: string): Tap {
  return tap === untapped ? untapped : (point, value) => tap(`${prefix}.${point}`, value);
}
