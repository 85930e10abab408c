/** What a comparison finds: plain data, which reports print and programs read. */

/**
 * - `identical`: the same numbers, bit for bit.
 * - `within noise`: no further from ours than another order of the same roundings takes it.
 * - `suspicious`: further than that, and nearer than a mistake: another algorithm, fast mathematics, a narrower accumulator.
 * - `different`: not the same function; also another shape, or NaN.
 */
export type Verdict = 'identical' | 'within noise' | 'suspicious' | 'different';

/** From best to worst. */
export const VERDICTS = ['identical', 'within noise', 'suspicious', 'different'] as const satisfies readonly Verdict[];

export function worstOf(verdicts: readonly Verdict[]): Verdict {
  return VERDICTS[Math.max(0, ...verdicts.map((verdict) => VERDICTS.indexOf(verdict)))]!;
}

export interface Comparison {
  /** The worst of all tensors and tokens. */
  readonly verdict: Verdict;
  /** What was compared, and what with: a file or a model. */
  readonly theirs: string;
  readonly ours: string;
  /** What the other side computes in, which decides the noise. */
  readonly dtype: ComparedDtype;
  /** What ours was computed in. */
  readonly precision: string;
  /** In the order in which a forward pass computes them. */
  readonly tensors: readonly TensorComparison[];
  /** The first tensor in that order that is different, or if none is, suspicious; null: all are within noise. */
  readonly first: Parting | null;
  /** null: the other side made no tokens. */
  readonly tokens: TokenComparison | null;
  /** With each tensor made from the other side's own inputs; null: that was not asked. */
  readonly bisection: Bisection | null;
  /** Tensors of theirs whose names say nothing to us. */
  readonly unknown: readonly string[];
  /** Tensors of ours that they have not. */
  readonly missing: readonly string[];
  /** What follows from a splice; null: nothing was spliced. */
  readonly conclusion: string | null;
  /** What a reader should know: layouts, guesses, rows that were left out. */
  readonly notes: readonly string[];
}

export type ComparedDtype = 'float64' | 'float32' | 'bfloat16' | 'float16';

export interface TensorComparison {
  /** As a trace calls it, and as they do. */
  readonly name: string;
  readonly theirName: string;
  /** Of theirs, as it is stored. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** How their shape holds our values, if not as they stand: `heads first`, `flattened heads`, ... */
  readonly layout: string | null;
  readonly verdict: Verdict;
  /** Why it could not be compared: one sentence; null: it could. */
  readonly problem: string | null;
  /** null where there is a problem. */
  readonly measures: Measures | null;
  /** One for each position that was compared, ascending. */
  readonly rows: readonly RowComparison[];
  /** The value that lies furthest beyond the noise, in the first row of the worst verdict; null where there is a problem, or nothing differs. */
  readonly worst: Place | null;
}

export interface Measures {
  readonly maxAbs: number;
  /** Root of the mean of the squared differences. */
  readonly rms: number;
  /** The largest |theirs - ours| / |ours|; Infinity where ours is 0 and theirs is not. */
  readonly maxRel: number;
  /** The largest difference in units in the last place of the compared dtype. */
  readonly maxUlp: number;
  /** Of the two as vectors; NaN where one of them is zero. */
  readonly cosine: number;
  /** The noise floor: the same of what rounding alone does to this tensor. */
  readonly noise: { readonly rms: number; readonly max: number };
  /** The largest ratio of a row's difference to its noise: what the verdict is made of. */
  readonly ratio: number;
  /** Of logits alone. */
  readonly kl: { readonly mean: number; readonly max: number; readonly top1: number } | null;
}

export interface RowComparison {
  readonly position: number;
  readonly verdict: Verdict;
  /** Of the difference to the noise. */
  readonly ratio: number;
}

/** One value. */
export interface Place {
  readonly position: number;
  /** Of a tensor that has heads: which one. */
  readonly head: number | null;
  /** Indices of the axes after the first. */
  readonly index: readonly number[];
  readonly theirs: number;
  readonly ours: number;
  /** What rounding does to a value of this row at most. */
  readonly noise: number;
}

/** Where two passes part. */
export interface Parting extends Place {
  readonly tensor: string;
  readonly theirName: string;
  readonly layer: number | null;
  readonly verdict: Verdict;
}

export interface TokenComparison {
  /** How many tokens were compared, and how many of them are the same. */
  readonly compared: number;
  readonly equal: number;
  /** `different`, or only near ties: `within noise`. */
  readonly verdict: Verdict;
  /** null: all are the same. */
  readonly first: TokenDifference | null;
  /** Tokens that differ where ours had no margin to speak of. */
  readonly ambiguous: number;
}

export interface TokenDifference {
  /** Of generated tokens, from 0. */
  readonly step: number;
  readonly position: number;
  readonly theirs: number;
  readonly ours: number;
  /** Our top-1 minus our logit of their token, and the noise that it must exceed to mean something. */
  readonly margin: number;
  readonly noise: number;
  readonly ambiguous: boolean;
}

/** Each tensor made by us from their own values of what it is made of: a root cause differs, what it caused does not. */
export interface Bisection {
  readonly tensors: readonly TensorComparison[];
  /** The tensors that are wrong by themselves, or for what they have not told. */
  readonly roots: readonly Root[];
}

export interface Root extends Parting {
  /** Ours between this tensor and what they have before it: the mistake may lie in any of them. */
  readonly unseen: readonly string[];
}
