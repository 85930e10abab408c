/**
 * Activations that transformers writes in Python (`transformers.activations`, `BloomGelu`), each operation of which PyTorch rounds: what an emulated
 * precision computes for them. All others are one operation. Numbers that stand in the text meet values in float32, and are rounded like these where they are added.
 */
import { roundToFloat16 } from '../tensor/dtype.js';
import { erf } from './erf.js';

/** Rounds to float32 and to the dtype, as PyTorch stores. */
type Storing = (x: number) => number;

/** x -> activation(x), whose last operation is left for the caller to store. */
type Composed = (x: number, store: Storing) => number;

const f = Math.fround;

const COMPOSED: Readonly<Record<string, Composed>> = {
  /** 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))); a power of 3 is two products that are stored, in float16 one operation. */
  gelu_new: (x, store) => {
    const cube = store === roundToFloat16 ? store(x * x * x) : store(store(x * x) * x);
    const inner = store(f(Math.sqrt(2 / Math.PI)) * store(x + store(f(0.044715) * cube)));
    return halfTimes(x, Math.tanh(inner), store);
  },
  gelu_fast: (x, store) => halfTimes(x, factored(x, 0.7978845608, store), store),
  bloom_gelu: (x, store) => halfTimes(x, factored(x, 0.79788456, store), store),
  gelu_python: (x, store) => halfTimes(x, erf(store(x / f(Math.SQRT2))), store),
  quick_gelu: (x, store) => x * store(1 / (1 + Math.exp(-store(f(1.702) * x)))),
  relu2: (x, store) => store(Math.max(x, 0)) ** 2,
};

/** An activation in operations; null: it is one operation. */
export function composed(activation: string): Composed | null {
  return COMPOSED[activation] ?? null;
}

/** 0.5 x (1 + y) */
function halfTimes(x: number, y: number, store: Storing): number {
  return store(0.5 * x) * store(1 + store(y));
}

/** tanh(root x (1 + 0.044715 x x)) */
function factored(x: number, root: number, store: Storing): number {
  const polynomial = store(1 + store(store(f(0.044715) * x) * x));
  return Math.tanh(store(store(x * f(root)) * polynomial));
}
