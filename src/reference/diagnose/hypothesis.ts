/** What may be wrong: one mistake or two, everywhere or in some layers. */
import type { Model } from '../../model/load.js';
import { candidatesFor, sameAs } from '../mutants/index.js';
import { both, type Candidate, inLayers, isOfLayers, type Mutant, type Mutation } from '../mutants/mutant.js';

/** Where a mistake is: in every layer that can have it, in one alone, or from one on. */
export type Where = 'everywhere' | { readonly only: number } | { readonly from: number };

/** A mistake in one of its ways. */
interface Fault {
  readonly mutant: Mutant;
  /** Its numbers; empty: there are none. */
  readonly label: string;
  readonly where: Where;
  /** The mistake by itself, everywhere. */
  readonly mutation: Mutation;
}

export interface Hypothesis {
  /** Tells it from all others. */
  readonly key: string;
  readonly faults: readonly Fault[];
  readonly mutation: Mutation;
}

/** Ours as it is. */
export const NOTHING: Hypothesis = { key: '', faults: [], mutation: {} };

export function hypothesesFor(model: Model): Hypothesis[] {
  return candidatesFor(model).map(({ mutant, variant, name }: Candidate) => ({
    key: name,
    faults: [{ mutant, label: variant.label, where: 'everywhere', mutation: variant }],
    mutation: variant,
  }));
}

/** The same mistake in some layers; null: it is none of layers. */
export function within({ key, faults, mutation }: Hypothesis, where: Exclude<Where, 'everywhere'>): Hypothesis | null {
  if (!isOfLayers(mutation)) return null;
  const chosen = 'only' in where ? (layer: number) => layer === where.only : (layer: number) => layer >= where.from;
  const name = 'only' in where ? `layer ${where.only}` : `from layer ${where.from}`;
  return {
    key: `${key} @ ${name}`,
    faults: faults.map((fault) => ({ ...fault, where })),
    mutation: inLayers(mutation, chosen),
  };
}

/** Both mistakes; null: they are two ways of the same one, or may be one. */
export function together(a: Hypothesis, b: Hypothesis): Hypothesis | null {
  const isOne = (one: Mutant, other: Mutant) => one === other || sameAs(one, other) !== null;
  if (a.faults.some(({ mutant }) => b.faults.some((other) => isOne(mutant, other.mutant)))) return null;
  // What is saved of a pass comes after the pass, and what is fed before it: else the order may matter, and is that of the list.
  return { key: `${a.key} + ${b.key}`, faults: [...a.faults, ...b.faults], mutation: both(a.mutation, b.mutation) };
}

/** Whether a mistake lies outside of layers: in what is fed, embedded, made of the last hidden states, or saved. */
export function isOutsideLayers({ mutation: { parts, attends, splice } }: Fault, { config, weights }: Model): boolean {
  if (attends || splice) return false;
  const changed = parts?.({ config, weights });
  return !changed || (changed.config.layers === config.layers && changed.weights.layers === weights.layers);
}

/** Whether a mistake changes what is made of the last hidden states. */
export function changesHead({ mutation: { parts, saves } }: Hypothesis, { config, weights }: Model): boolean {
  const changed = parts?.({ config, weights });
  return Boolean(saves) || (changed !== undefined && (changed.config.head !== config.head || changed.weights.head !== weights.head)); // biome-ignore format: one thought
}
