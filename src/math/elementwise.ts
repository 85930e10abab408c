/**
 * Functions of one element at a time. A float32 array rounds what is stored in it, which is all the rounding one operation needs; an emulated
 * precision is rounded to after each operation of PyTorch (src/tensor/emulated.ts).
 */
import { emulationOf, settleInPlace } from '../tensor/emulated.js';
import { expectShape, flat, type Tensor, zerosLike } from '../tensor/tensor.js';
import { composed } from './composed.js';
import { erf } from './erf.js';
import { roundingOf, storingOf } from './sum.js';

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
  settleInPlace(result.data);
  return result;
}

/** Each value within [least, most]. */
export function clamped(x_TF: Tensor, least: number, most: number): Tensor {
  return mapped(x_TF, (x) => Math.min(Math.max(x, least), most));
}

/** factor x; the same tensor where the factor is 1. */
export function scaled(x_TD: Tensor, factor: number): Tensor {
  return factor === 1 ? x_TD : mapped(x_TD, (x, round) => x * round(factor));
}

/** Each row of x [T, D] by its own factor [T]. */
export function scaledRows(x_TD: Tensor, factors: ArrayLike<number>): Tensor {
  const [x, result, width] = [flat(x_TD), zerosLike(x_TD, x_TD.shape), x_TD.shape[1]!];
  const round = roundingOf(x);
  for (let i = 0; i < x.length; i++) result.data[i] = x[i]! * round(factors[Math.floor(i / width)]!);
  settleInPlace(result.data);
  return result;
}

/** 1 / (1 + exp(-x)) */
export function sigmoid(x_TF: Tensor): Tensor {
  return mapped(x_TF, logistic);
}

/** The same of one number. */
export function logistic(x: number, round: Rounding): number {
  return round(1 / round(1 + round(Math.exp(-x))));
}

/** cap tanh(x / cap): x where it is small beside the cap, and never beyond it (Gemma Team 2024, "Gemma 2", section 2). */
export function softcapped(x_TN: Tensor, cap: number): Tensor {
  const own = roundingOf(flat(x_TN))(cap);
  return mapped(x_TN, (x, _, store) => softcap(x, own, store));
}

/** The same of one number, for a cap that is rounded already: a quotient, a tangent and a product, each stored. */
export function softcap(x: number, cap: number, store: Rounding): number {
  return store(store(Math.tanh(store(x / cap))) * cap);
}

/** x + 1 */
export function plusOne(x_TF: Tensor): Tensor {
  return mapped(x_TF, (x) => x + 1);
}

/** x sigmoid(alpha x): silu with a gain inside (`GptOssExperts` of transformers). */
export function scaledSilu(x_TF: Tensor, alpha: number): Tensor {
  return mapped(x_TF, (x, round, store) => x * store(logistic(store(x * round(alpha)), round)));
}

/** An activation function by its Hugging Face name (`transformers.activations.ACT2FN`). */
export type Activation = keyof typeof ACTIVATIONS;

type Rounding = (x: number) => number;

const ACTIVATIONS = {
  silu,
  swish: silu,
  relu: (x: number) => Math.max(x, 0),
  /** So et al. 2021, "Primer", section 3. */
  relu2: (x: number) => Math.max(x, 0) ** 2,
  gelu,
  gelu_python: gelu,
  gelu_new: geluTanh(Math.sqrt(2 / Math.PI)),
  gelu_pytorch_tanh: geluTanh(Math.sqrt(2 / Math.PI)),
  gelu_fast: geluTanh(0.7978845608),
  /** `BloomGelu` of transformers, whose constant has eight digits. */
  bloom_gelu: geluTanh(0.79788456),
  quick_gelu: (x: number, round: Rounding) => x / round(1 + round(Math.exp(-round(round(1.702) * x)))),
} satisfies Record<string, (x: number, round: Rounding) => number>;

export const ACTIVATION_NAMES = Object.keys(ACTIVATIONS) as readonly Activation[];

/** x -> activation(x), rounding after every operation inside it; an emulated precision, after those of PyTorch alone. */
export function activate(x_TF: Tensor, activation: Activation): Tensor {
  const inOperations = emulationOf(x_TF.data) && composed(activation);
  return mapped(x_TF, inOperations ? (x, _, store) => inOperations(x, store) : ACTIVATIONS[activation]);
}

/** A function of each value, which rounds every operation but its last: storing rounds that one. It may be several operations of PyTorch, whose results it stores. */
function mapped(x_TF: Tensor, apply: (x: number, round: Rounding, store: Rounding) => number): Tensor {
  const [x, result] = [flat(x_TF), zerosLike(x_TF, x_TF.shape)];
  const [round, store] = [roundingOf(x), storingOf(x)];
  for (let i = 0; i < x.length; i++) result.data[i] = apply(x[i]!, round, store);
  settleInPlace(result.data);
  return result;
}

/** x sigmoid(x) (Elfwing et al. 2017; Ramachandran et al. 2017 call it swish). */
function silu(x: number, round: Rounding): number {
  return x / round(1 + round(Math.exp(-x)));
}

/** x times the normal distribution's cumulative function (Hendrycks & Gimpel 2016, section 2). */
function gelu(x: number, round: Rounding): number {
  return round(0.5 * x) * round(1 + round(erf(round(x * round(Math.SQRT1_2)))));
}

/** The tanh approximation of GELU (Hendrycks & Gimpel 2016, section 2), which codes write with more or fewer digits of sqrt(2 / pi). */
function geluTanh(root: number): (x: number, round: Rounding) => number {
  return (x, round) => {
    const cube = round(round(x * x) * x);
    const inner = round(round(root) * round(x + round(round(0.044715) * cube)));
    return round(0.5 * x) * round(1 + round(Math.tanh(inner)));
  };
}
