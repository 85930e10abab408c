/** Which experts a token goes to, and how much each weighs. */
import { softmaxInPlace } from '../math/softmax.js';
import { roundingOf, sumByIndex } from '../math/sum.js';
import { type Floats, flat, floatsLike, type Tensor } from '../tensor/tensor.js';
import type { ExpertsConfig, RouterConfig } from './config.js';

export interface ExpertChoice {
  readonly token: number;
  readonly expert: number;
  readonly weight: number;
}

/** Router logits [T, E] -> the choices of each token, in order of expert. Of equal ones the first is taken. */
export function route(logits_TE: Tensor, correction: Floats | null, config: ExpertsConfig): ExpertChoice[] {
  const [tokens, count] = logits_TE.shape as [number, number];
  const logits = flat(logits_TE);
  return Array.from({ length: tokens }, (_, token) => {
    const own = logits.slice(token * count, (token + 1) * count);
    return choose(own, correction, config).map(([expert, weight]) => ({ token, expert, weight }));
  }).flat();
}

function choose(logits_E: Floats, correction: Floats | null, { router, perToken }: ExpertsConfig): [number, number][] {
  switch (router.kind) {
    case 'top-k-softmax': {
      const experts = greatest(logits_E, perToken);
      const weights = floatsLike(logits_E, perToken);
      for (const [i, expert] of experts.entries()) weights[i] = logits_E[expert]!;
      softmaxInPlace(weights, experts, perToken);
      return [...experts].map((expert, i) => [expert, weights[i]!]);
    }
    case 'grouped-sigmoid':
      return groupedSigmoid(logits_E, correction, router, perToken);
    default:
      return router satisfies never;
  }
}

function groupedSigmoid(
  logits_E: Floats,
  correction: Floats | null,
  { groups, groupsPerToken, normalise, scale }: Extract<RouterConfig, { kind: 'grouped-sigmoid' }>,
  perToken: number,
): [number, number][] {
  const round = roundingOf(logits_E);
  const scores = logits_E.map((logit) => round(1 / round(1 + round(Math.exp(-logit)))));
  const ranks = scores.map((score, e) => score + (correction?.[e] ?? 0));
  const size = scores.length / groups;
  const groupRanks = floatsLike(scores, groups);
  for (let g = 0; g < groups; g++) {
    const own = ranks.slice(g * size, (g + 1) * size);
    groupRanks[g] = [...greatest(own, 2)].reduce((sum, e) => round(sum + own[e]!), 0);
  }
  const open = new Set(greatest(groupRanks, groupsPerToken));
  const allowed = ranks.map((rank, e) => (open.has(Math.floor(e / size)) ? rank : Number.NEGATIVE_INFINITY));
  const experts = greatest(allowed, perToken);
  const chosen = floatsLike(scores, perToken);
  for (const [i, expert] of experts.entries()) chosen[i] = scores[expert]!;
  const total = normalise ? round(sumByIndex(chosen, experts, perToken) + round(1e-20)) : 1;
  return [...experts].map((expert, i) => [expert, round(round(chosen[i]! / total) * round(scale))]);
}

/** The places of the k greatest values, in ascending order. */
function greatest(values: Floats, k: number): Int32Array {
  const order = Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b);
  return Int32Array.from(order.slice(0, k)).sort();
}
