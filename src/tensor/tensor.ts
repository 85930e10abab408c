import ndarray, { type NdArray } from 'ndarray';
import { ShapeError } from '../errors.js';
import { AXES, type Axis } from './axes.js';
import { EMULATED_PRECISIONS, type EmulatedPrecision, emulatedFloats, emulationOf } from './emulated.js';

/** A precision that numbers are computed and stored in. */
export type TruePrecision = 'float32' | 'float64';

/** What a forward pass computes in: in a precision of its own, or as PyTorch does in 16 bits (emulated.ts). */
export type Precision = TruePrecision | EmulatedPrecision;

export const TRUE_PRECISIONS = ['float32', 'float64'] as const satisfies readonly TruePrecision[];

export const PRECISIONS = [...TRUE_PRECISIONS, ...EMULATED_PRECISIONS] as const satisfies readonly Precision[];

export function isEmulated(precision: Precision): precision is EmulatedPrecision {
  return precision === 'bfloat16' || precision === 'float16';
}

export type Floats = Float32Array | Float64Array;

/** A dense array of floats. Its precision is that of its data, and functions compute in the precision of their input. */
export type Tensor = NdArray<Floats>;

/** A zeroed flat array in a precision. */
export function floats(precision: Precision, length: number): Floats {
  if (precision === 'float32') return new Float32Array(length);
  return precision === 'float64' ? new Float64Array(length) : emulatedFloats(precision, length);
}

/** A zeroed array of the same precision as another one. */
export function floatsLike(other: Floats, length: number): Floats {
  return floats(precisionOf(other), length);
}

/** The precision that an array is of. */
function precisionOf(data: Floats): Precision {
  return data instanceof Float64Array ? 'float64' : (emulationOf(data) ?? 'float32');
}

/** Wraps flat data as a tensor. ndarray itself checks nothing, so the size is checked here, where every tensor is made. */
export function tensor(data: Floats, shape: readonly number[]): Tensor {
  const size = shape.reduce((product, length) => product * length, 1);
  if (data.length !== size) {
    throw new ShapeError(`A tensor of shape [${shape.join(', ')}] needs ${size} values, got ${data.length}.`);
  }
  return ndarray(data, [...shape]);
}

/** A zeroed tensor of the same precision as another one. */
export function zerosLike(other: Tensor, shape: readonly number[]): Tensor {
  const size = shape.reduce((product, length) => product * length, 1);
  return tensor(floatsLike(other.data, size), shape);
}

/** The rows [from, to) of the first axis, as a view. */
export function rowsOf(whole: Tensor, from: number, to: number): Tensor {
  const open = whole.shape.slice(1).map(() => null) as unknown as number[];
  if (from < 0 || to < from || to > whole.shape[0]!) {
    throw new ShapeError(`Rows [${from}, ${to}) do not lie in a tensor of shape [${whole.shape.join(', ')}].`);
  }
  return whole.hi(to, ...open).lo(from, ...open.map(() => 0));
}

/** The same values under another shape (no copy). */
export function reshaped(whole: Tensor, shape: readonly number[]): Tensor {
  return tensor(flat(whole), shape);
}

/**
 * The values of a tensor as one flat array in row-major order (no copy). Every tensor of this code base is row-major, views of
 * rows included; a transposed view is refused rather than misread.
 */
export function flat(whole: Tensor): Floats {
  let size = 1;
  for (let axis = whole.dimension - 1; axis >= 0; axis--) {
    if (whole.shape[axis] !== 1 && whole.stride[axis] !== size) {
      throw new ShapeError(
        `Expected row-major values, got shape [${whole.shape.join(', ')}] with strides [${whole.stride.join(', ')}].`,
      );
    }
    size *= whole.shape[axis]!;
  }
  if (whole.offset === 0 && whole.data.length === size) return whole.data;
  return whole.data.subarray(whole.offset, whole.offset + size);
}

/**
 * Checks a tensor against named axes, in order: `expectShape(q_THK, 'q', { T: 5, H: 8, K: 24 })`.
 * @throws ShapeError naming the tensor, the axes and both shapes.
 */
export function expectShape(found: Tensor, name: string, axes: Partial<Record<Axis, number>>): void {
  const wanted = Object.entries(axes) as [Axis, number][];
  if (found.dimension === wanted.length && wanted.every(([, length], i) => found.shape[i] === length)) return;
  const expected = wanted.map(([axis, length]) => `${axis} = ${length} (${AXES[axis]})`).join(', ');
  throw new ShapeError(`${name}: expected ${expected}, got shape [${found.shape.join(', ')}].`);
}
