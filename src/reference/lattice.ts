/**
 * The equivalence lattice: for every two ways to run a model, whether their logits are the same bits, the same sums in another order, or
 * another computation. It is a declaration; the conformance suite and `npm run report:lattice` hold runs against it.
 */
import type { CacheName } from '../../attention/cache/index.js';
import type { KernelName } from '../../attention/kernel/index.js';
import { type PositionPolicy, shiftOf } from '../../attention/slots.js';
import type { StrategyName } from '../../attention/strategy/index.js';
import { type VisibilityConfig, visibilityOf } from '../../attention/visibility/index.js';
import type { Visibility } from '../../attention/visibility/visibility.js';
import type { ModelConfig } from '../model/config.js';

/** One choice along each axis. */
export interface Choice {
  readonly attention: StrategyName | 'auto';
  readonly visibility: VisibilityConfig | 'auto';
  readonly positions: PositionPolicy;
  readonly cache: CacheName;
  readonly kernel: KernelName;
}

export type Relation =
  /** The same bits. */
  | { readonly kind: 'exact' }
  /** The same real number, rounded in another order: logits differ by at most `bound` unit roundoffs of the largest |logit|. */
  | { readonly kind: 'reordered'; readonly bound: number }
  /** Another function, whose effect is measured, not bounded. */
  | { readonly kind: 'lossy' };

const EXACT: Relation = { kind: 'exact' };
const LOSSY: Relation = { kind: 'lossy' };

/**
 * What a reordered choice may add to the error of a logit, in unit roundoffs of the largest |logit|. Measured on every fixture
 * (`npm run report:lattice` says the largest).
 */
const REORDERED = { kind: 'reordered', bound: 512 } as const satisfies Relation;

/** Along these axes names in one group give the same bits, and names of different groups the same sums in another order. */
const GROUPS = {
  attention: [['mha', 'mqa', 'gqa'], ['mla'], ['mla-naive']],
  kernel: [['reference'], ['flash']],
  cache: [['none', 'contiguous', 'preallocated', 'ring', 'paged', 'prefix', 'radix']],
} as const satisfies {
  attention: readonly (readonly StrategyName[])[];
  kernel: readonly (readonly KernelName[])[];
  cache: readonly (readonly CacheName[])[];
};

/** How the logits of two choices compare, for a sequence of this many tokens. */
export function relationOf(a: Choice, b: Choice, config: ModelConfig, length: number): Relation {
  const auto = config.layers[0]!.attention.kind === 'latent' ? 'mla' : 'gqa';
  const named = (name: Choice['attention']) => (name === 'auto' ? auto : name);
  return worst([
    byGroup(GROUPS.attention, named(a.attention), named(b.attention)),
    byGroup(GROUPS.kernel, a.kernel, b.kernel),
    byGroup(GROUPS.cache, a.cache, b.cache),
    ...config.layers.map((layer) => {
      const ruleOf = ({ visibility }: Choice) => visibilityOf(visibility === 'auto' ? layer.visibility : visibility);
      return bySight([ruleOf(a), a.positions], [ruleOf(b), b.positions], length);
    }),
  ]);
}

/** Of lossy and exact: lossy. Bounds of choices on different axes add up. */
function worst(relations: readonly Relation[]): Relation {
  if (relations.some(({ kind }) => kind === 'lossy')) return LOSSY;
  const bounds = relations.map((relation) => (relation.kind === 'reordered' ? relation.bound : 0));
  const bound = bounds.reduce((sum, each) => sum + each, 0);
  return bound === 0 ? EXACT : { kind: 'reordered', bound };
}

function byGroup(groups: readonly (readonly string[])[], a: string, b: string): Relation {
  const together = a === b || groups.some((group) => group.includes(a) && group.includes(b));
  return together ? EXACT : REORDERED;
}

/**
 * Two rules that show every query the same keys are one rule (a window as long as the sequence is causal). Rotating by slots keeps the distances
 * between a query and what its window holds, so without sinks it changes roundings alone; with sinks it brings those nearer.
 */
function bySight(
  [a, aPositions]: readonly [Visibility, PositionPolicy],
  [b, bPositions]: readonly [Visibility, PositionPolicy],
  length: number,
): Relation {
  const shift = (rule: Visibility, positions: PositionPolicy, query: number) =>
    positions === 'absolute' ? 0 : shiftOf(rule, query);
  let relation: Relation = EXACT;
  for (let query = 0; query < length; query++) {
    for (let key = 0; key <= query; key++) if (a.sees(query, key) !== b.sees(query, key)) return LOSSY;
    if (shift(a, aPositions, query) === shift(b, bPositions, query)) continue;
    if (a.sinks > 0 || b.sinks > 0) return LOSSY;
    relation = REORDERED;
  }
  return relation;
}

/** `sinks 4 + 12 in-cache`, ... */
export function nameOfSight({ visibility, positions }: Pick<Choice, 'visibility' | 'positions'>): string {
  const rule = visibility === 'auto' ? 'as configured' : visibilityOf(visibility).name;
  return positions === 'absolute' ? rule : `${rule} in-cache`;
}
