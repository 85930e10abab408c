import { ShapeError } from '../errors.js';
import { settleInPlace } from '../tensor/emulated.js';
import { type Floats, flat, floats, isEmulated, type Precision, type Tensor } from '../tensor/tensor.js';
import { roundingOf, storingOf } from './sum.js';

/**
 * Rotary position embedding (Su et al. 2021, equation 34), fully derived from the config: whichever scaling a model uses,
 * what is left of it are frequencies and a factor.
 */
export interface Rope {
  /** R: how many values of a head are rotated, in pairs. */
  readonly dim: number;
  /** Which values are a pair: (i, i + R/2), the "half-split" layout, or neighbours (2i, 2i + 1). */
  readonly pairs: 'half-split' | 'interleaved';
  /** [R/2] radians a position, in float64. */
  readonly frequencies: readonly number[];
  /** Before any scaling frequency i was theta^(-2 i / R): for what tells of a rope, nothing is computed from it. Left out: not known. */
  readonly theta?: number;
  /** The same as transformers comes to them in float32, some units in the last place away, which an emulated precision computes with; left out: rounded. */
  readonly inFloat32?: readonly number[];
  /** Factor on cos and sin (yarn's attention factor; 1 for most). */
  readonly magnitude: number;
  /**
   * Where transformers rounds, which matters to an emulated precision alone. `each` (the default): cos and sin, both products of a value, and their
   * sum. `once`: the sum alone. `tables`: cos and sin, and the sum.
   */
  readonly stores?: RopeStores;
}

export type RopeStores = 'each' | 'once' | 'tables';

/** cos and sin [T, R/2] of the rotation of each token. */
export interface Rotation {
  readonly dim: number;
  readonly pairs: Rope['pairs'];
  readonly stores: RopeStores;
  readonly cos_TR: Floats;
  readonly sin_TR: Floats;
}

/**
 * The rotation of tokens at absolute positions. A table of constants: computed in float64 and rounded once. But an emulated precision has the angles
 * that transformers has, products of float32: at later positions their errors are seen in 16 bits.
 */
export function rotationAt(rope: Rope, positions: Int32Array, precision: Precision): Rotation {
  const half = rope.dim / 2;
  const cos_TR = floats(precision, positions.length * half);
  const sin_TR = floats(precision, positions.length * half);
  const { frequencies, angle } = isEmulated(precision)
    ? { frequencies: inFloat32(rope), angle: Math.fround }
    : { frequencies: rope.frequencies, angle: (x: number) => x };
  positions.forEach((position, t) => {
    for (let i = 0; i < half; i++) {
      const turned = angle(position * frequencies[i]!);
      cos_TR[t * half + i] = Math.cos(turned) * rope.magnitude;
      sin_TR[t * half + i] = Math.sin(turned) * rope.magnitude;
    }
  });
  const { dim, pairs, stores = 'each' } = rope;
  if (stores !== 'once') for (const table of [cos_TR, sin_TR]) settleInPlace(table);
  return { dim, pairs, stores, cos_TR, sin_TR };
}

/** Those of transformers where they are these but for roundings: whoever puts other frequencies into a rope means those. */
function inFloat32({ frequencies, inFloat32: known }: Rope): number[] {
  return frequencies.map((frequency, i) => {
    const single = known?.[i] ?? frequency;
    return Math.abs(single - frequency) <= 1e-5 * Math.abs(frequency) ? single : Math.fround(frequency);
  });
}

/** Rotates R values of every head of x [T, heads, dim], from `from` on: a pair (a, b) -> (a cos - b sin, b cos + a sin). */
export function rotateInPlace(x_THK: Tensor, { dim, pairs, stores, cos_TR, sin_TR }: Rotation, from = 0): void {
  const [tokens, heads, headDim] = x_THK.shape as [number, number, number];
  const [x, half] = [flat(x_THK), dim / 2];
  if (cos_TR.length !== tokens * half || from + dim > headDim) {
    throw new ShapeError(
      `Cannot rotate ${dim} values of shape [${x_THK.shape.join(', ')}] by ${cos_TR.length / half} angles.`,
    );
  }
  const round = stores === 'each' ? storingOf(x) : roundingOf(x);
  const store = storingOf(x);
  const [step, apart] = pairs === 'half-split' ? [1, half] : [2, 1];
  for (let row = 0; row < tokens * heads; row++) {
    const angle = Math.floor(row / heads) * half;
    for (let i = 0; i < half; i++) {
      const first = row * headDim + from + i * step;
      const second = first + apart;
      const [a, b, cos, sin] = [x[first]!, x[second]!, cos_TR[angle + i]!, sin_TR[angle + i]!];
      x[first] = store(round(a * cos) - round(b * sin));
      x[second] = store(round(b * cos) + round(a * sin));
    }
  }
}
