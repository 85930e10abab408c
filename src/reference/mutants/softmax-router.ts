/** DeepSeek-V3's router with a softmax in place of its sigmoids, and all else as it is: correction, groups, factor. */
import type { ExpertsConfig, FeedForwardConfig, GroupedRouting } from '../../model/config.js';
import type { Model } from '../../model/load.js';
import { type Floats, flat, type Tensor, zerosLike } from '../../tensor/tensor.js';
import type { Mutation } from './mutant.js';

type Corrected = ExpertsConfig & { readonly router: { readonly kind: 'grouped-sigmoid' } & GroupedRouting };

export function isCorrected(own: FeedForwardConfig): own is Corrected {
  return own.kind === 'experts' && own.router.kind === 'grouped-sigmoid';
}

/** What the pass goes on with as its choice of experts, and as their weights. */
export const softmaxForSigmoid: NonNullable<Mutation['splice']> = ({ config, weights }: Model) => {
  let chosen: { readonly experts: Tensor; readonly weights: Tensor } | null = null;
  let logits_TE: Tensor | null = null;
  return (point, value) => {
    const found = /^layers\.(\d+)\.router\.(logits|experts|weights)$/.exec(point);
    const layer = Number(found?.[1] ?? 0);
    const [own, held] = [config.layers[layer]!.feedForward, weights.layers[layer]!.feedForward];
    if (!found || !isCorrected(own) || held.kind !== 'experts') return value;
    if (found[2] === 'logits') logits_TE = value;
    if (found[2] === 'experts' && logits_TE) chosen = choicesLike(value, logits_TE, held.correction, own);
    if (found[2] === 'logits' || !chosen) return value;
    return chosen[found[2] as 'experts' | 'weights'];
  };
};

/** @param like experts [T, k] */
function choicesLike(like: Tensor, logits_TE: Tensor, correction: Floats | null, own: Corrected) {
  const [experts, weights] = [zerosLike(like, like.shape), zerosLike(like, like.shape)];
  const [tokens, count] = logits_TE.shape as [number, number];
  for (let t = 0; t < tokens; t++) {
    const scores = softmax(flat(logits_TE).subarray(t * count, (t + 1) * count));
    const ranks = openRanks(scores.map((score, e) => score + (correction?.[e] ?? 0)), own.router); // biome-ignore format: one thought
    const best = greatest(ranks, own.perToken).sort((a, b) => a - b);
    const sum = own.router.normalise ? best.reduce((all, e) => all + scores[e]!, 0) : 1;
    for (const [i, e] of best.entries()) {
      experts.data[t * own.perToken + i] = e;
      weights.data[t * own.perToken + i] = (scores[e]! / sum) * own.router.scale;
    }
  }
  return { experts, weights };
}

function softmax(logits: Floats): number[] {
  const own = [...logits];
  const most = Math.max(...own);
  const exponents = own.map((logit) => Math.exp(logit - most));
  const sum = exponents.reduce((all, one) => all + one, 0);
  return exponents.map((one) => one / sum);
}

/** Open are the groups whose two best add up to most. */
function openRanks(ranks: readonly number[], { groups, groupsPerToken }: GroupedRouting): number[] {
  const size = ranks.length / groups;
  const sums = Array.from({ length: groups }, (_, g) => {
    const own = ranks.slice(g * size, (g + 1) * size);
    return greatest(own, 2).reduce((sum, e) => sum + own[e]!, 0);
  });
  const open = new Set(greatest(sums, groupsPerToken));
  return ranks.map((rank, e) => (open.has(Math.floor(e / size)) ? rank : Number.NEGATIVE_INFINITY));
}

function greatest(values: readonly number[], count: number): number[] {
  return [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b).slice(0, count);
}
