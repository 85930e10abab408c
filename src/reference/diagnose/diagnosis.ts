/** What a diagnosis says: plain data, which the command prints and programs read. */
import type { ComparedDtype, Verdict } from '../compare/comparison.js';
import type { MutantGroup } from '../mutants/mutant.js';
import type { Where } from './hypothesis.js';

export interface Diagnosis {
  readonly conclusion: Conclusion;
  /** What was diagnosed, and what it was held against. */
  readonly theirs: string;
  readonly ours: string;
  readonly dtype: ComparedDtype;
  /** That of the comparison. */
  readonly verdict: Verdict;
  /** How far theirs lie from ours: root of the mean over tensors of the squared relative errors. */
  readonly off: number;
  /** Where theirs and ours part, in words; null: nowhere. */
  readonly first: string | null;
  /** Those that come nearest of what does not explain it, the best first; empty where something does. */
  readonly nearest: readonly Explanation[];
  /** Tensors that were gone by, by our names, in the order of a pass. */
  readonly evidence: readonly string[];
  /** How many mistakes the model could have, and how many runs it took. */
  readonly candidates: number;
  readonly runs: number;
  readonly notes: readonly string[];
}

export type Conclusion =
  /** Nothing is wrong: rounding explains all of it. */
  | { readonly kind: 'within noise' }
  /** One mistake, or two together, reproduce their numbers. The first of `explanations` does best; others do too. */
  | { readonly kind: 'explained'; readonly explanations: readonly [Explanation, ...Explanation[]] }
  /** Mistakes that reproduce a beginning of it, or nearly all; something else is wrong as well. */
  | { readonly kind: 'partly'; readonly explanation: Explanation }
  /** They are of other tokens. */
  | { readonly kind: 'other tokens'; readonly position: number; readonly given: number; readonly theirs: number | null }
  /** Their shapes hold nothing of ours: of another model, or of another number of tokens. */
  | { readonly kind: 'other shapes'; readonly why: string }
  /** They are of another checkpoint. */
  | { readonly kind: 'other checkpoint'; readonly why: string }
  /** They are no output of a model. */
  | { readonly kind: 'noise'; readonly why: string }
  /** Something is wrong that no known mistake explains. */
  | { readonly kind: 'unknown' };

export interface Explanation {
  readonly faults: readonly ExplainedFault[];
  /** How far it lies from theirs, as `off` is. */
  readonly match: number;
  /** The largest ratio of a tensor's error to its noise. */
  readonly ratio: number;
  /** Where it and theirs part; null: nowhere. */
  readonly until: string | null;
}

export interface ExplainedFault {
  readonly name: string;
  readonly label: string;
  readonly group: MutantGroup;
  /** null: it lies outside of layers. */
  readonly where: Where | null;
  readonly mistake: string;
  readonly symptom: string;
  readonly fix: string;
}
