/** The frequencies of each rope type, in float64 and as transformers comes to them in float32. */
import type { Rope } from '../../math/rope.js';
import type { Scaling } from './rope-config.js';
import { longRope, ntkBase, scaledLlama3, yarn } from './rope-scaling.js';

/** What they depend on. */
interface Stretch {
  readonly given: Scaling;
  readonly theta: number;
  /** R */
  readonly dim: number;
  /** The context that a scaled rope was trained on before it was scaled, and the whole one. */
  readonly original: number;
  readonly context: number;
  readonly ropeLength: number | null;
}

const f = Math.fround;

export function frequenciesOf(stretch: Stretch): Pick<Rope, 'frequencies' | 'magnitude' | 'inFloat32'> {
  const { dim } = stretch;
  const made = stretched((base, i) => base ** ((-2 * i) / dim), stretch);
  // The operations of `compute_default_rope_parameters`, each rounded.
  const single = stretched((base, i) => f(1 / f(base ** f((2 * i) / dim))), stretch);
  return { ...made, inFloat32: single.frequencies.map(f) };
}

/** @param power the frequency of pair i under a base, in whatever precision */
function stretched(
  power: (base: number, i: number) => number,
  { given, theta, dim, original, context, ropeLength }: Stretch,
): Pick<Rope, 'frequencies' | 'magnitude'> {
  const plain = (base: number) => Array.from({ length: dim / 2 }, (_, i) => power(base, i));
  switch (given.rope_type) {
    case 'default':
      return { frequencies: plain(theta), magnitude: 1 };
    case 'linear':
      return { frequencies: plain(theta).map((frequency) => frequency / given.factor), magnitude: 1 };
    case 'dynamic': {
      const base = ntkBase(theta, dim, given.factor, Math.max(ropeLength ?? 0, context) / context);
      return { frequencies: plain(base), magnitude: 1 };
    }
    case 'llama3':
      return { frequencies: plain(theta).map((frequency) => scaledLlama3(frequency, given)), magnitude: 1 };
    case 'yarn':
      return yarn(given, plain(theta), theta, original);
    case 'longrope':
      return longRope(given, plain(theta), { original, context, length: ropeLength ?? original });
  }
}
