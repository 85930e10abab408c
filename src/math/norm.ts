/** Norms of rows: what the config of a model names, and its weights. */
import { ShapeError } from '../errors.js';
import { settleInPlace } from '../tensor/emulated.js';
import { type Floats, flat, type Tensor, zerosLike } from '../tensor/tensor.js';
import { compensatedSum, roundingOf } from './sum.js';

export interface NormConfig {
  /**
   * rms: x / sqrt(mean(x^2) + eps) (Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", equation 4);
   * layer: (x - mean(x)) / sqrt(var(x) + eps) (Ba et al. 2016, "Layer Normalization", equation 3).
   */
  readonly kind: 'rms' | 'layer';
  readonly eps: number;
  /** What is learned: a factor, and an offset. */
  readonly weight: boolean;
  readonly bias: boolean;
  /** What is added to the factor as it is stored: 1 in Gemma and Nemotron, which learn how far it lies from 1. `NormWeights` hold the sum. */
  readonly weightOffset: number;
  /**
   * Whether rms stores x / sqrt(...) before the weight multiplies it, as `LlamaRMSNorm` does (the default), or the product alone, as
   * `GemmaRMSNorm` and `Olmo2RMSNorm` do. It matters to an emulated precision alone. A layer norm is one operation.
   */
  readonly stores?: 'before-weight' | 'once';
}

/** Of the width of a row, or of several rows that take turns (a factor for each head); null: none. */
export interface NormWeights {
  readonly weight: Floats | null;
  readonly bias: Floats | null;
}

/**
 * Normalises each row of the last axis by itself: x [..., width] -> the same shape.
 * @throws ShapeError for weights that do not fit
 */
export function normalise(x: Tensor, norm: NormConfig, { weight, bias }: NormWeights): Tensor {
  const width = x.shape.at(-1)!;
  const [from, y] = [flat(x), zerosLike(x, x.shape)];
  for (const own of [weight, bias]) {
    if (own && (own.length % width !== 0 || from.length % own.length !== 0)) {
      throw new ShapeError(`A norm of ${own.length} weights does not fit a shape of [${x.shape.join(', ')}].`);
    }
  }
  for (let row = 0; row < from.length; row += width) {
    const to = y.data.subarray(row, row + width);
    if (norm.kind === 'rms') rootMeanSquareInto(to, from, row, norm.eps);
    else layerInto(to, from, row, norm.eps);
    const [weightAt, biasAt] = [weight ? row % weight.length : 0, bias ? row % bias.length : 0];
    if (norm.kind === 'rms' && norm.stores !== 'once') settleInPlace(to);
    if (weight) for (let i = 0; i < width; i++) to[i] = to[i]! * weight[weightAt + i]!;
    if (bias) for (let i = 0; i < width; i++) to[i] = to[i]! + bias[biasAt + i]!;
  }
  settleInPlace(y.data);
  return y;
}

function rootMeanSquareInto(y: Floats, x: Floats, from: number, eps: number): void {
  const round = roundingOf(x);
  const squares = compensatedSum(y.length, (i) => round(x[from + i]! ** 2), round);
  const inverse = inverseRoot(squares, y.length, eps, round);
  for (let i = 0; i < y.length; i++) y[i] = x[from + i]! * inverse;
}

function layerInto(y: Floats, x: Floats, from: number, eps: number): void {
  const round = roundingOf(x);
  const mean = round(compensatedSum(y.length, (i) => x[from + i]!, round) / y.length);
  for (let i = 0; i < y.length; i++) y[i] = x[from + i]! - mean;
  const squares = compensatedSum(y.length, (i) => round(y[i]! ** 2), round);
  const inverse = inverseRoot(squares, y.length, eps, round);
  for (let i = 0; i < y.length; i++) y[i] = y[i]! * inverse;
}

/** 1 / sqrt(sum / count + eps) */
function inverseRoot(sum: number, count: number, eps: number, round: (x: number) => number): number {
  return round(1 / round(Math.sqrt(round(round(sum / count) + round(eps)))));
}
