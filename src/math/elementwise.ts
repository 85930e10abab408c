/** Functions of one element at a time. A float32 array rounds what is stored in it, which is all the rounding one operation needs. */
import { expectShape, flat, type Tensor, zerosLike } from '../tensor/tensor.js';
import { roundingOf } from './sum.js';

/** a + b, of one shape: the residual connection. */
export function add(a_TD: Tensor, b_TD: Tensor): Tensor {
  return combine(a_TD, b_TD, (a, b) => a + b);
}

/** a * b, of one shape. */
export function multiply(a_TF: Tensor, b_TF: Tensor): Tensor {
  return combine(a_TF, b_TF, (a, b) => a * b);
}

function combine(left: Tensor, right: Tensor, operation: (a: number, b: number) => number): Tensor {
  expectShape(right, 'the second operand', { T: left.shape[0]!, D: left.shape[1]! });
  const [a, b, result] = [flat(left), flat(right), zerosLike(left, left.shape)];
  for (let i = 0; i < a.length; i++) result.data[i] = operation(a[i]!, b[i]!);
  return result;
}

/** Each value within [least, most]. */
export function clamped(x_TF: Tensor, least: number, most: number): Tensor {
  return mapped(x_TF, (x) => Math.min(Math.max(x, least), most));
}

/** x + 1 */
export function plusOne(x_TF: Tensor): Tensor {
  return mapped(x_TF, (x) => x + 1);
}

/** x sigmoid(alpha x): silu with a gain inside (`GptOssExperts` of transformers). */
export function scaledSilu(x_TF: Tensor, alpha: number): Tensor {
  return mapped(x_TF, (x, round) => x * round(1 / round(1 + round(Math.exp(-round(x * round(alpha)))))));
}

/** An activation function by its Hugging Face name (`transformers.activations.ACT2FN`). */
export type Activation = keyof typeof ACTIVATIONS;

type Rounding = (x: number) => number;

const ACTIVATIONS = {
  silu,
  swish: silu,
  relu: (x: number) => Math.max(x, 0),
  gelu_new: geluTanh,
  gelu_pytorch_tanh: geluTanh,
} satisfies Record<string, (x: number, round: Rounding) => number>;

export const ACTIVATION_NAMES = Object.keys(ACTIVATIONS) as readonly Activation[];

/** x -> activation(x), rounding after every operation inside it. */
export function activate(x_TF: Tensor, activation: Activation): Tensor {
  return mapped(x_TF, ACTIVATIONS[activation]);
}

/** A function of each value, which rounds every operation but its last: storing rounds that one. */
function mapped(x_TF: Tensor, apply: (x: number, round: Rounding) => number): Tensor {
  const [x, result] = [flat(x_TF), zerosLike(x_TF, x_TF.shape)];
  const round = roundingOf(x);
  for (let i = 0; i < x.length; i++) result.data[i] = apply(x[i]!, round);
  return result;
}

/** x sigmoid(x) (Elfwing et al. 2017; Ramachandran et al. 2017 call it swish). */
function silu(x: number, round: Rounding): number {
  return x / round(1 + round(Math.exp(-x)));
}

/** The tanh approximation of GELU (Hendrycks & Gimpel 2016, section 2). */
function geluTanh(x: number, round: Rounding): number {
  const cube = round(round(x * x) * x);
  const inner = round(round(Math.sqrt(2 / Math.PI)) * round(x + round(round(0.044715) * cube)));
  return round(0.5 * x) * round(1 + round(Math.tanh(inner)));
}
