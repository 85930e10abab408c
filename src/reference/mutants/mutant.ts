/**
 * Mistakes of ports, by name. Each is a transform from outside, through the seams that users have: of a model's config and weights, of the parts that
 * its layers attend with, of what a pass is fed, goes on with, and tells. The transformer knows nothing of them.
 */
import type { AttentionLayer } from '../../../attention/layer.js';
import type { ModelConfig } from '../../model/config.js';
import type { Model } from '../../model/load.js';
import type { ModelWeights } from '../../model/weights.js';
import type { Floats } from '../../tensor/tensor.js';
import type { Splice } from '../trace/run.js';

/** What part of a port a mistake is in: groups of the list. */
export const MUTANT_GROUPS = [
  'tokens',
  'embedding and output',
  'positions',
  'what is seen',
  'heads',
  'scores',
  'norms',
  'residual stream',
  'feed-forward',
  'experts',
  'latent attention',
  'cache',
  'quantised cache',
  'narrow precision',
  'what was saved',
] as const;

export type MutantGroup = (typeof MUTANT_GROUPS)[number];

/** A mistake that ports make. */
export interface Mutant {
  /** kebab-case, as `touchstone mutants` lists it. */
  readonly name: string;
  readonly group: MutantGroup;
  /** What is done wrong, said of the port: "queries and keys are rotated in neighbouring pairs, ...". */
  readonly mistake: string;
  /** What its user sees. */
  readonly symptom: string;
  readonly fix: string;
  /** The ways in which this model could have it; none: it has nothing that could be mistaken so. */
  readonly variants: (model: Model) => readonly Variant[];
  /**
   * Others that may compute the same, and why, where a model or a text cannot tell them apart: the diagnosis then names all of them. In both directions: it is
   * enough that one of the two says so.
   */
  readonly sameAs?: Readonly<Record<string, string>>;
}

/** A mutant with its numbers. */
export interface Variant extends Mutation {
  /** "theta 10000"; empty: there is one way alone. */
  readonly label: string;
}

export interface Parts {
  readonly config: ModelConfig;
  readonly weights: ModelWeights;
}

/** What a mistake changes. */
export interface Mutation {
  /** Another model. */
  readonly parts?: ((parts: Parts) => Parts) | undefined;
  /** Another attention of a layer. What it is given computes what the layer would. */
  readonly attends?: ((layer: AttentionLayer, model: Model) => AttentionLayer) | undefined;
  /** What a run's passes go on with, made anew for each run. */
  readonly splice?: ((model: Model) => Splice) | undefined;
  /** What a run is fed in place of these tokens. */
  readonly feeds?: ((ids: readonly number[]) => FedTokens) | undefined;
  /** What is saved in place of what was computed: rows [T, width], as many as were computed. */
  readonly saves?: ((point: string, values: Floats, width: number) => Floats) | undefined;
  /** It depends on how the tokens are cut into passes. */
  readonly byPass?: boolean | undefined;
}

export interface FedTokens {
  readonly ids: readonly number[];
  /** Which row of the run is told as the first of theirs. A negative one: so many of theirs are not told. */
  readonly first: number;
}

/** Both, one after the other. */
export function both(a: Mutation, b: Mutation): Mutation {
  return {
    parts: chained(a.parts, b.parts, (one, other) => (parts) => other(one(parts))),
    attends: chained(a.attends, b.attends, (one, other) => (layer, model) => other(one(layer, model), model)),
    splice: chained(a.splice, b.splice, (one, other) => (model) => {
      const [first, second] = [one(model), other(model)];
      return (point, value, from) => second(point, first(point, value, from), from);
    }),
    feeds: chained(a.feeds, b.feeds, (one, other) => (ids) => {
      const inner = one(ids);
      const outer = other(inner.ids);
      return { ids: outer.ids, first: inner.first + outer.first };
    }),
    saves: chained(a.saves, b.saves, (one, other) => (point, values, width) => other(point, one(point, values, width), width)), // biome-ignore format: one thought
    byPass: (a.byPass ?? false) || (b.byPass ?? false),
  };
}

function chained<Part>(a: Part | undefined, b: Part | undefined, join: (a: Part, b: Part) => Part): Part | undefined {
  return a && b ? join(a, b) : (a ?? b);
}

/** The same mistake in some layers alone: what lies outside layers stays right. */
export function inLayers(mutation: Mutation, chosen: (layer: number) => boolean): Mutation {
  const { parts, attends, splice } = mutation;
  return {
    byPass: mutation.byPass,
    parts: parts && ((given) => mixed(given, parts(given), chosen)),
    attends: attends && ((layer, model) => (chosen(layer.index) ? attends(layer, model) : layer)),
    splice:
      splice &&
      ((model) => {
        const own = splice(model);
        return (point, value, from) => {
          const changed = own(point, value, from);
          const layer = /^layers\.(\d+)\./.exec(point);
          return layer && chosen(Number(layer[1])) ? changed : value;
        };
      }),
  };
}

function mixed(right: Parts, wrong: Parts, chosen: (layer: number) => boolean): Parts {
  const layersOf = <Layer>(own: readonly Layer[], other: readonly Layer[]) =>
    own.map((layer, i) => (chosen(i) ? other[i]! : layer));
  return {
    config: { ...right.config, layers: layersOf(right.config.layers, wrong.config.layers) },
    weights: { ...right.weights, layers: layersOf(right.weights.layers, wrong.weights.layers) },
  };
}

/** Whether a mistake is one of layers, so that it can be in some of them alone. */
export function isOfLayers({ parts, attends, splice, feeds, saves }: Mutation): boolean {
  return Boolean(parts || attends || splice) && !feeds && !saves;
}

/** A mutant that a model can have, in one of its ways. */
export interface Candidate {
  readonly mutant: Mutant;
  readonly variant: Variant;
  /** Name and label. */
  readonly name: string;
}

export function nameOf({ name }: Mutant, { label }: Variant): string {
  return label === '' ? name : `${name} (${label})`;
}

/** One way alone where a condition holds, none elsewhere. */
export function when(condition: unknown, mutation: Mutation): readonly Variant[] {
  return condition ? [{ label: '', ...mutation }] : [];
}
