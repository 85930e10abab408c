/** Comparisons that are made up, for what shows them. */
import {
  type Comparison,
  type Measures,
  type Root,
  type RowComparison,
  type TensorComparison,
  type Verdict,
  worstOf,
} from '../../src/reference/compare/comparison.js';
import { layerOfPoint } from '../../src/reference/trace/format.js';

const NOISE = 1e-7;

export const measuresOf = (ratio: number, more: Partial<Measures> = {}): Measures => ({
  maxAbs: 3 * ratio * NOISE,
  rms: ratio * NOISE,
  maxRel: 30 * ratio * NOISE,
  maxUlp: Math.round(8 * ratio),
  cosine: ratio > 100 ? 0.5 : 1 - 1e-12 * ratio,
  noise: { rms: NOISE, max: 4 * NOISE },
  ratio,
  kl: null,
  ...more,
});

/** The thresholds are those of this builder alone. */
const verdictOf = (ratio: number): Verdict => {
  if (ratio === 0) return 'identical';
  return ratio <= 1 ? 'within noise' : ratio <= 10 ? 'suspicious' : 'different';
};

/** A tensor whose rows, at positions from 0, are this far beyond the noise. */
export function tensorOf(name: string, ratios: readonly number[], more: Partial<TensorComparison> = {}) {
  const rows = ratios.map((ratio, position): RowComparison => ({ position, verdict: verdictOf(ratio), ratio }));
  const ratio = Math.max(0, ...ratios);
  const at = rows.find(({ ratio: of }) => Object.is(of, ratio));
  const worst = ratio === 0 || !at ? null : { position: at.position, head: null, index: [7], theirs: 0.5, ours: 0.25, noise: NOISE }; // biome-ignore format: a value
  return {
    name,
    theirName: name,
    dtype: 'F32',
    shape: [ratios.length, 8],
    layout: null,
    verdict: worstOf(rows.map(({ verdict }) => verdict)),
    problem: null,
    measures: measuresOf(ratio),
    rows,
    worst,
    ...more,
  } satisfies TensorComparison;
}

export function problemOf(name: string, problem: string): TensorComparison {
  const none = { problem, measures: null, rows: [], worst: null };
  return { ...tensorOf(name, []), verdict: 'different', ...none };
}

export function divergenceOf(tensor: TensorComparison, more: Partial<Root> = {}): Root {
  const { name, theirName, verdict, worst } = tensor;
  return { ...worst!, tensor: name, theirName, layer: layerOfPoint(name), verdict, unseen: [], ...more };
}

export function comparisonOf(tensors: readonly TensorComparison[], more: Partial<Comparison> = {}): Comparison {
  const verdict = worstOf([...tensors.map((tensor) => tensor.verdict), ...(more.tokens ? [more.tokens.verdict] : [])]);
  const first =
    verdict === 'different' || verdict === 'suspicious'
      ? tensors.find((tensor) => tensor.verdict === verdict && tensor.worst)
      : undefined;
  return {
    verdict,
    theirs: 'dump.safetensors',
    ours: 'austen-llama',
    dtype: 'float32',
    precision: 'float32',
    tensors,
    first: first ? divergenceOf(first) : null,
    tokens: null,
    bisection: null,
    conclusion: null,
    unknown: [],
    missing: [],
    notes: [],
    ...more,
  };
}

const PARTS = ['attention.input', 'attention.q', 'attention.k', 'attention.v', 'attention.q_rope', 'attention.k_rope', 'attention.heads', 'attention.output', 'attention.residual', 'feed_forward.input', 'feed_forward.hidden', 'feed_forward.output', 'output']; // biome-ignore format: a list

/** A whole pass, of which a tensor and all after it are wrong from a position on. @param wrong null: none is */
export function passOf(
  layers: number,
  positions: number,
  wrong: { readonly tensor: string; readonly position: number } | null,
): TensorComparison[] {
  const each = Array.from({ length: layers }, (_, l) => PARTS.map((part) => `layers.${l}.${part}`)).flat();
  const names = ['embeddings', ...each, 'final_norm', 'logits'];
  const from = wrong ? names.indexOf(wrong.tensor) : names.length;
  return names.map((name, i) => {
    const ratios = Array.from({ length: positions }, (_, p) => {
      const isWrong = i >= from && p >= wrong!.position;
      return isWrong ? 4e5 / (1 + (p - wrong!.position)) : i === 0 ? 0 : 0.2 + ((i * 7 + p * 3) % 8) / 10;
    });
    return tensorOf(name, ratios, name === 'logits' ? { measures: measuresOf(Math.max(...ratios), { kl: { mean: 1e-3, max: 2e-2, top1: 0.875 } }) } : {}); // biome-ignore format: one thought
  });
}
