/** From tensors that were each made of their own inputs to what is wrong by itself. */
import { kindOfPoint, layerOfPoint } from '../trace/format.js';
import type { Bisection, Comparison, Root } from './comparison.js';
import { partingsOf } from './tensors.js';

/** What is computed of what: a point is made of those of the stage before it, and of a residual stream. */
export const STAGES: readonly (readonly string[])[] = [
  ['attention.input'],
  ['attention.latent', 'attention.rope_key'],
  ['attention.q', 'attention.k', 'attention.v'],
  ['attention.q_rope', 'attention.k_rope', 'attention.rope_key_rope'],
  ['attention.scores'],
  ['attention.probabilities'],
  ['attention.heads'],
  ['attention.output'],
  ['attention.output_norm'],
  ['attention.residual'],
  ['feed_forward.input'],
  ['feed_forward.hidden', 'router.logits'],
  ['router.experts'],
  ['router.weights'],
  ['feed_forward.output'],
  ['feed_forward.output_norm'],
  ['output'],
];

/**
 * Our kernel goes from queries, keys and values to heads in one step, so what follows a wrong score in its layer's attention cannot be told from
 * what the score has caused: it is no root.
 */
export function bisectionOf({ tensors, missing }: Pick<Comparison, 'tensors' | 'missing'>): Bisection {
  const all = partingsOf(tensors);
  const wrong = new Set(all.map(({ tensor }) => tensor));
  const follows = (point: string) => {
    const at = INSIDE.findIndex((part) => point.endsWith(part));
    return INSIDE.slice(0, Math.max(at, 0)).some((part) => wrong.has(point.replace(INSIDE[at]!, part)));
  };
  const had = new Set(tensors.filter(({ problem }) => problem === null).map(({ name }) => name));
  const roots = all.filter(({ tensor }) => !follows(tensor));
  return { tensors, roots: roots.map((root): Root => ({ ...root, unseen: unseenBefore(root.tensor, had, missing) })) };
}

const INSIDE = ['.attention.scores', '.attention.probabilities', '.attention.heads'];

/** Ours that lie before a point and after the last that they have: what is wrong may lie in any of them. */
function unseenBefore(point: string, had: ReadonlySet<string>, missing: readonly string[]): string[] {
  const own = stageOf(point);
  const stages = new Map<number, { has: boolean; without: string[] }>();
  const at = (stage: number) => stages.get(stage) ?? { has: false, without: [] };
  for (const name of had) stages.set(stageOf(name), { ...at(stageOf(name)), has: true });
  for (const name of missing) {
    const { has, without } = at(stageOf(name));
    stages.set(stageOf(name), { has, without: [...without, name] });
  }
  const unseen: string[] = [];
  for (const stage of [...stages.keys()].filter((other) => other < own).sort((a, b) => b - a)) {
    if (at(stage).has) break;
    unseen.unshift(...at(stage).without);
  }
  return unseen;
}

/** Ascending in the order of a pass. */
function stageOf(point: string): number {
  if (point === 'embeddings') return -1;
  const layer = layerOfPoint(point);
  const kind = kindOfPoint(point);
  if (layer === null) return Number.MAX_SAFE_INTEGER - (kind === 'logits' ? 0 : 1);
  return layer * STAGES.length + STAGES.findIndex((stage) => stage.includes(kind));
}
