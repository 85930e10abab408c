/** Mistakes of multi-head latent attention. */
import { sliceOfHeads } from '../../../attention/strategy/heads.js';
import { expandedHeads, projectLatent } from '../../../attention/strategy/latent.js';
import type { AttentionStrategy, LatentConfig, LatentWeights } from '../../../attention/strategy/strategy.js';
import { linear } from '../../math/linear.js';
import type { Model } from '../../model/load.js';
import { outputsOf } from '../../model/weight-reader.js';
import { untapped } from '../../tensor/tap.js';
import { reshaped, type Tensor } from '../../tensor/tensor.js';
import { latentWeights, scale } from './change.js';
import { type Mutant, type Mutation, when } from './mutant.js';

const latentOf = ({ config }: Model): LatentConfig | null =>
  config.layers.map(({ attention }) => attention).find((attention) => attention.kind === 'latent') ?? null;

/** Rows of `expand` for each head: those of its values, then those of its key, where keys should come first. */
function valuesFirst(own: LatentWeights, { queryHeads, nopeDim, valueDim }: LatentConfig): LatentWeights {
  const rows = Array.from({ length: queryHeads }, (_, h) => {
    const first = h * (nopeDim + valueDim);
    return Array.from({ length: nopeDim + valueDim }, (_, i) => first + ((i + valueDim) % (nopeDim + valueDim)));
  }).flat();
  return { ...own, expand: outputsOf(own.expand, rows) };
}

/** Keys first of all heads, then values of all heads, where each head has both together. */
function headsApart(own: LatentWeights, { queryHeads, nopeDim, valueDim }: LatentConfig): LatentWeights {
  const rows = Array.from({ length: queryHeads }, (_, h) => [
    ...Array.from({ length: nopeDim }, (_, i) => h * nopeDim + i),
    ...Array.from({ length: valueDim }, (_, i) => queryHeads * nopeDim + h * valueDim + i),
  ]).flat();
  return { ...own, expand: outputsOf(own.expand, rows) };
}

/** The naive form, whose latents, or queries' latents, are not normed. */
const without =
  (norm: 'latent' | 'query'): NonNullable<Mutation['attends']> =>
  (layer, model) => {
    const own = model.weights.layers[layer.index]!.attention;
    const { attention } = model.config.layers[layer.index]!;
    if (own.kind !== 'latent' || attention.kind !== 'latent') return layer;
    const project: AttentionStrategy['project'] = (x_TD, tap = untapped) => {
      const right = projectLatent(x_TD, own, attention);
      const latent_T1C = tap('latent', norm === 'latent' ? bareLatent(x_TD, own, attention) : right.latent_T1C);
      const ropeKey_T1R = tap('rope_key', right.ropeKey_T1R);
      const { k_THK, v_THV } = expandedHeads(latent_T1C, ropeKey_T1R, own, attention);
      const q_THK = norm === 'query' ? bareQueries(x_TD, own, attention) : right.q_THK;
      return { q_THK, rows: { keys: k_THK, values: v_THV } };
    };
    return { ...layer, strategy: { ...layer.strategy, project } };
  };

function bareLatent(x_TD: Tensor, { compress }: LatentWeights, { latentRank, ropeDim }: LatentConfig): Tensor {
  const compressed_T1K = reshaped(linear(x_TD, compress), [x_TD.shape[0]!, 1, latentRank + ropeDim]);
  return sliceOfHeads(compressed_T1K, 0, latentRank);
}

function bareQueries(x_TD: Tensor, { query }: LatentWeights, { queryHeads, nopeDim, ropeDim }: LatentConfig): Tensor {
  const q_TK = 'weight' in query ? linear(x_TD, query) : linear(linear(x_TD, query.down), query.up);
  return reshaped(q_TK, [x_TD.shape[0]!, queryHeads, nopeDim + ropeDim]);
}

const isNaive = ({ components }: Model) => components.chosen.attention.split(', ').includes('mla-naive');

export const LATENT_MUTANTS: readonly Mutant[] = [
  {
    name: 'latent-scale-nope',
    group: 'latent attention',
    mistake: 'scores are multiplied by 1 / sqrt(nope dim), without the part of a key that carries the position',
    symptom: 'the first token is right, and attention is too sharp for all others',
    fix: '1 / sqrt(qk_nope_head_dim + qk_rope_head_dim), times mscale squared where yarn has it',
    variants: (model) =>
      when(latentOf(model), {
        parts: scale((attention) => (attention.kind === 'latent' ? 1 / Math.sqrt(attention.nopeDim) : attention.scale)),
      }),
  },
  {
    name: 'latent-values-first',
    group: 'latent attention',
    mistake: "what the latent is expanded to is split with each head's value first and its key then",
    symptom: 'all rows are garbage; no shape is wrong where the two are equally long',
    fix: 'of each head first the qk_nope_head_dim values of its key, then the v_head_dim of its value (kv_b_proj)',
    variants: (model) => when(latentOf(model), { parts: latentWeights(valuesFirst) }),
  },
  {
    name: 'latent-heads-apart',
    group: 'latent attention',
    mistake: 'what the latent is expanded to is split with the keys of all heads first and their values then',
    symptom: 'all rows are garbage, and no shape is wrong',
    fix: 'reshape to [heads, qk_nope_head_dim + v_head_dim] first, and split then (kv_b_proj)',
    variants: (model) => when((latentOf(model)?.queryHeads ?? 1) > 1, { parts: latentWeights(headsApart) }),
  },
  {
    name: 'latent-norm-missing',
    group: 'latent attention',
    mistake: 'the latent of keys and values is not normed',
    symptom: 'all rows are off, the first too',
    fix: 'norm the latent, and not the rope key beside it (kv_a_layernorm)',
    variants: (model) => when(latentOf(model) && isNaive(model), { attends: without('latent') }),
  },
  {
    name: 'latent-query-norm-missing',
    group: 'latent attention',
    mistake: "the queries' own latent is not normed",
    symptom: 'the first token is right, and all others are off',
    fix: 'norm it before it is expanded (q_a_layernorm)',
    variants: (model) => when(latentOf(model)?.queryRank && isNaive(model), { attends: without('query') }),
  },
];
