/** Which experts a token goes to, and how much each weighs. */
import { logistic } from '../math/elementwise.js';
import { softmaxInPlace } from '../math/softmax.js';
import { roundingOf, storingOf, sumByIndex } from '../math/sum.js';
import { type Floats, flat, floatsLike, type Tensor } from '../tensor/tensor.js';
import type { ExpertsConfig, GroupedRouting } from './config.js';

export interface ExpertChoice {
  readonly token: number;
  readonly expert: number;
  readonly weight: number;
}

/** Router logits [T, E] -> the choices of each token, in order of expert. Of equal ones the first is taken. */
export function route(logits_TE: Tensor, correction: Floats | null, config: ExpertsConfig): ExpertChoice[] {
  const [tokens, count] = logits_TE.shape as [number, number];
  const logits = flat(logits_TE);
  const store = config.routerStores === 'logits' ? roundingOf(logits) : storingOf(logits);
  return Array.from({ length: tokens }, (_, token) => {
    const own = logits.slice(token * count, (token + 1) * count);
    return choose(own, correction, config).map(([expert, weight]) => ({ token, expert, weight: store(weight) }));
  }).flat();
}

/** The experts of one token and their weights, by its logits [E]. */
function choose(logits_E: Floats, correction: Floats | null, { router, perToken }: ExpertsConfig): [number, number][] {
  switch (router.kind) {
    case 'top-k-softmax': {
      const experts = greatest(logits_E, perToken);
      const weights = picked(logits_E, experts);
      softmaxInPlace(weights, experts, perToken);
      return [...experts].map((expert, i) => [expert, weights[i]!]);
    }
    case 'top-k-sigmoid':
      return [...greatest(logits_E, perToken)].map((e) => [e, logistic(logits_E[e]!, roundingOf(logits_E))]);
    case 'softmax-top-k': {
      const scores = logits_E.slice();
      softmaxInPlace(scores, Int32Array.from(scores.keys()), scores.length);
      return weighed(scores, greatest(ofOpenGroups(scores, router, 1), perToken), router, 0);
    }
    case 'grouped-sigmoid': {
      const round = roundingOf(logits_E);
      const scores = logits_E.map((logit) => logistic(logit, round));
      const ranks = scores.map((score, e) => score + (correction?.[e] ?? 0));
      return weighed(scores, greatest(ofOpenGroups(ranks, router, 2), perToken), router, 1e-20);
    }
    default:
      return router satisfies never;
  }
}

/** Ranks [E] with those of closed groups at -Infinity: open are the groups whose `best` greatest ranks add up to most. */
function ofOpenGroups(ranks: Floats, { groups, groupsPerToken }: GroupedRouting, best: number): Floats {
  if (groupsPerToken === groups) return ranks;
  const round = roundingOf(ranks);
  const size = ranks.length / groups;
  const groupRanks = floatsLike(ranks, groups);
  for (let g = 0; g < groups; g++) {
    const own = ranks.slice(g * size, (g + 1) * size);
    groupRanks[g] = [...greatest(own, best)].reduce((sum, e) => round(sum + own[e]!), 0);
  }
  const open = new Set(greatest(groupRanks, groupsPerToken));
  return ranks.map((rank, e) => (open.has(Math.floor(e / size)) ? rank : Number.NEGATIVE_INFINITY));
}

/** The scores of some experts as weights. `least` is added to the sum that they are divided by, which is never zero then. */
function weighed(
  scores: Floats,
  experts: Int32Array,
  { normalise, scale }: GroupedRouting,
  least: number,
): [number, number][] {
  const round = roundingOf(scores);
  const chosen = picked(scores, experts);
  const total = normalise ? round(sumByIndex(chosen, experts, experts.length) + round(least)) : 1;
  return [...experts].map((expert, i) => [expert, round(round(chosen[i]! / total) * round(scale))]);
}

function picked(values: Floats, places: Int32Array): Floats {
  const own = floatsLike(values, places.length);
  for (const [i, place] of places.entries()) own[i] = values[place]!;
  return own;
}

/** The places of the k greatest values, in ascending order. */
function greatest(values: Floats, k: number): Int32Array {
  const order = Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b);
  return Int32Array.from(order.slice(0, k)).sort();
}
