/**
 * The equivalence lattice: for every two ways to run a model in one precision, whether their logits are the same bits, the same sums in another order, or
 * another computation. It is a declaration; the conformance suite and `npm run report:lattice` hold runs against it.
 */
import { type KvConfig, type KvDtype, type KvFormat, kvFormat } from '../../attention/cache/codec/format.js';
import type { CacheName } from '../../attention/cache/index.js';
import type { KernelName } from '../../attention/kernel/index.js';
import { type PositionPolicy, shiftOf } from '../../attention/slots.js';
import type { StrategyName } from '../../attention/strategy/index.js';
import { type VisibilityConfig, visibilityOf } from '../../attention/visibility/index.js';
import type { Visibility } from '../../attention/visibility/visibility.js';
import { formOf } from '../model/components.js';
import type { ModelConfig } from '../model/config.js';
import { isEmulated, type Precision } from '../tensor/tensor.js';

/** One choice along each axis. */
export interface RunChoice {
  readonly attention: StrategyName | 'auto';
  readonly visibility: VisibilityConfig | 'auto';
  readonly positions: PositionPolicy;
  readonly cache: CacheName;
  readonly kvDtype: KvDtype | KvConfig | 'auto';
  readonly kernel: KernelName;
}

export type Relation =
  /** The same bits. */
  | { readonly kind: 'exact' }
  /**
   * The same real number, rounded in another order: logits differ by at most `bound` unit roundoffs of the largest |logit|. In a mixture
   * of experts that holds `given` both route alike: a rounding can turn a router's near tie, as it can turn a token's.
   */
  | { readonly kind: 'reordered'; readonly bound: number; readonly given: 'the same experts' | null }
  /** Another function, whose effect is measured, not bounded. */
  | { readonly kind: 'lossy' };

const EXACT: Relation = { kind: 'exact' };
const LOSSY: Relation = { kind: 'lossy' };

/**
 * What a reordered choice may add to the error of a logit, in unit roundoffs of the largest |logit|. Measured on the fixtures
 * that `npm run report:lattice` runs, which says the largest; test/conformance/families.test.ts holds every family to it.
 */
const REORDERED = { kind: 'reordered', bound: 512, given: null } as const satisfies Relation;

/** Names of one form give the same bits; names of different forms the same sums in another order. */
const FORMS = {
  attention: { mha: 'grouped', mqa: 'grouped', gqa: 'grouped', mla: 'absorbed', 'mla-naive': 'expanded' },
  kernel: { reference: 'whole rows', flash: 'tiles', gpu: 'chunks' },
  cache: {
    none: 'rows',
    contiguous: 'rows',
    preallocated: 'rows',
    ring: 'rows',
    paged: 'rows',
    prefix: 'rows',
    radix: 'rows',
  },
} as const satisfies {
  attention: Record<StrategyName, string>;
  kernel: Record<KernelName, string>;
  cache: Record<CacheName, string>;
};

/**
 * How the logits of two choices compare, for a sequence of this many tokens.
 *
 * A cache that rounds what it stores is another function than one that does not, and a function of what is stored: of the latent or of heads, of keys
 * before or after rope. And where two runs differ by roundings alone, one of those can turn a stored code, so that no bound holds; nor does one in a
 * precision that is emulated, where it can turn whatever an operation stores.
 */
export function relationOf(
  a: RunChoice,
  b: RunChoice,
  config: ModelConfig,
  length: number,
  precision: Precision = 'float32',
): Relation {
  const [form, other] = [roundingForm(a, precision), roundingForm(b, precision)];
  if (form !== other || (form !== null && a.positions !== b.positions)) return LOSSY;
  const relation = unroundedRelation(a, b, config, length, precision);
  const rounds = form !== null || isEmulated(precision);
  return rounds && relation.kind === 'reordered' ? LOSSY : relation;
}

/** The form in which a cache stores rows, by all that tells it from others; null if every row is read as it was computed. */
function roundingForm({ kvDtype }: RunChoice, precision: Precision): string | null {
  const format: KvFormat = kvFormat(kvDtype === 'auto' ? precision : kvDtype);
  const exact = isEmulated(precision) ? [precision, 'float32', 'float64'] : [precision, 'float64'];
  if (format.kind === 'float' && exact.includes(format.dtype)) return null;
  return JSON.stringify(format);
}

function unroundedRelation(
  a: RunChoice,
  b: RunChoice,
  config: ModelConfig,
  length: number,
  precision: Precision,
): Relation {
  const auto = formOf(config.layers[0]!.attention, precision);
  const attention = (choice: RunChoice) => FORMS.attention[choice.attention === 'auto' ? auto : choice.attention];
  const routed = config.layers.some(({ feedForward }) => feedForward.kind === 'experts');
  const axes = [
    sameForm(attention(a), attention(b)),
    byKernel(a, b),
    sameForm(FORMS.cache[a.cache], FORMS.cache[b.cache]),
    sameForm(normOrder(a, config), normOrder(b, config)),
    weakest(
      config.layers.map((layer) => {
        const ruleOf = ({ visibility }: RunChoice) =>
          visibilityOf(visibility === 'auto' ? layer.visibility : visibility);
        return byRule([ruleOf(a), a.positions], [ruleOf(b), b.positions], length);
      }),
    ),
  ];
  return together(axes, routed ? 'the same experts' : null);
}

/** A norm after rope stands before it where rows are rotated by slot. */
function normOrder({ positions }: RunChoice, { layers }: ModelConfig): string {
  const after = layers.some(
    ({ attention }) => attention.kind === 'grouped' && attention.qkNorm?.place === 'after-rope',
  );
  return after ? positions : 'any';
}

/** What choices on several axes come to: the bounds of those that reorder add up. */
function together(axes: readonly Relation[], given: 'the same experts' | null): Relation {
  if (axes.some(({ kind }) => kind === 'lossy')) return LOSSY;
  const bound = axes.reduce((sum, relation) => sum + (relation.kind === 'reordered' ? relation.bound : 0), 0);
  return bound === 0 ? EXACT : { kind: 'reordered', bound, given };
}

/** What one choice comes to in layers that differ. (The bound on logits is not one a layer.) */
function weakest(layers: readonly Relation[]): Relation {
  return layers.find(({ kind }) => kind === 'lossy') ?? layers.find(({ kind }) => kind === 'reordered') ?? EXACT;
}

/** Chunks of a gpu kernel are runs of slots that depend on the cache, on what is fed together and on the device: it is not even itself to the bit. */
function byKernel({ kernel: a }: RunChoice, { kernel: b }: RunChoice): Relation {
  return FORMS.kernel[a] === FORMS.kernel[b] && FORMS.kernel[a] !== 'chunks' ? EXACT : REORDERED;
}

function sameForm(a: string, b: string): Relation {
  return a === b ? EXACT : REORDERED;
}

/**
 * Two rules that show every query the same keys are one rule (a window as long as the sequence is causal). Rotating by slots keeps the distances
 * between a query and what its window holds, so without sinks it changes roundings alone; with sinks it brings those nearer.
 */
function byRule(
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
export function nameOfRule({ visibility, positions }: Pick<RunChoice, 'visibility' | 'positions'>): string {
  const rule = visibility === 'auto' ? 'as configured' : visibilityOf(visibility).name;
  return positions === 'absolute' ? rule : `${rule} in-cache`;
}
