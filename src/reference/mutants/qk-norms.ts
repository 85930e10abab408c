/** Mistakes of the norms of queries and keys. */
import type { GroupedConfig, GroupedWeights, QkNormConfig } from '../../../attention/strategy/strategy.js';
import type { NormWeights } from '../../math/norm.js';
import { type Floats, floatsLike } from '../../tensor/tensor.js';
import { type Change, grouped, groupedOf, groupedWeights } from './change.js';
import { type Mutant, when } from './mutant.js';

/** One set of weights for each head, or one for all of them. @param heads that there are */
function forScope(own: NormWeights, to: QkNormConfig['scope'], heads: number, dim: number): NormWeights {
  const vector = (values: Floats | null): Floats | null => {
    if (!values) return null;
    const whole = floatsLike(values, to === 'head' ? dim : heads * dim);
    for (let i = 0; i < whole.length; i++) whole[i] = values[i % values.length]!;
    return whole;
  };
  return { weight: vector(own.weight), bias: vector(own.bias) };
}

/** A norm over a whole head that is rotated, without weights, is the same on either side of rope. */
const hasPlacedNorm = ({ qkNorm, rope }: GroupedConfig) =>
  qkNorm !== null && rope !== null && (qkNorm.norm.weight || qkNorm.scope === 'heads-together' || rope.magnitude !== 1);

const OTHER_SCOPE = { head: 'heads-together', 'each-head': 'heads-together', 'heads-together': 'each-head' } as const;

/** The norm runs over the other axis: over each head by itself, or over all of them. */
const otherScope: Change = (parts) => {
  const weights = groupedWeights((own: GroupedWeights, { qkNorm, queryHeads, keyValueHeads, headDim }) => {
    if (!qkNorm || !own.queryNorm || !own.keyNorm) return own;
    const to = OTHER_SCOPE[qkNorm.scope];
    return {
      ...own,
      queryNorm: forScope(own.queryNorm, to, queryHeads, headDim),
      keyNorm: forScope(own.keyNorm, to, keyValueHeads, headDim),
    };
  })(parts);
  return grouped((attention) => ({
    ...attention,
    qkNorm: attention.qkNorm && { ...attention.qkNorm, scope: OTHER_SCOPE[attention.qkNorm.scope] },
  }))(weights);
};

export const QK_NORM_MUTANTS: readonly Mutant[] = [
  {
    name: 'qk-norm-missing',
    group: 'scores',
    mistake: 'queries and keys are not normed',
    symptom: 'the first token is right, and scores are far too large or too small for all others',
    fix: 'norm queries and keys (q_norm, k_norm): before rope, in Llama 4 after it',
    variants: (model) =>
      when(
        groupedOf(model).some(({ qkNorm }) => qkNorm),
        { parts: grouped((attention) => ({ ...attention, qkNorm: null })) },
      ),
  },
  {
    name: 'qk-norm-axis',
    group: 'scores',
    mistake:
      'the norm of queries and keys runs over all heads together where it should run over each, or the other way round',
    symptom: 'the first token is right, and all others are off',
    fix: 'the length of its weights tells: head dim (Qwen3, Gemma 3), or all heads (OLMo 2)',
    variants: (model) =>
      when(
        groupedOf(model).some(({ qkNorm, queryHeads }) => qkNorm && queryHeads > 1),
        { parts: otherScope },
      ),
  },
  {
    name: 'qk-norm-place',
    group: 'scores',
    mistake: 'queries and keys are normed after rope where it should be before, or the other way round',
    symptom: 'the first token is right, and all others are off a little',
    fix: 'most norm first and rotate then; Llama 4 rotates first',
    variants: (model) =>
      when(groupedOf(model).some(hasPlacedNorm) && model.components.chosen.positions === 'absolute', {
        parts: grouped((attention) => ({
          ...attention,
          qkNorm: attention.qkNorm && {
            ...attention.qkNorm,
            place: attention.qkNorm.place === 'before-rope' ? 'after-rope' : 'before-rope',
          },
        })),
      }),
  },
  {
    name: 'qk-norms-swapped',
    group: 'scores',
    mistake: 'queries are normed with the weights of the keys, and keys with those of the queries',
    symptom: 'the first token is right, and all others are off a little',
    fix: 'q_norm is of queries, k_norm of keys',
    variants: (model) =>
      when(
        model.weights.layers.some(
          ({ attention }) =>
            attention.kind === 'grouped' &&
            attention.queryNorm?.weight &&
            attention.queryNorm.weight.length === attention.keyNorm?.weight?.length,
        ),
        {
          parts: groupedWeights((own) =>
            own.queryNorm?.weight?.length === own.keyNorm?.weight?.length
              ? { ...own, queryNorm: own.keyNorm, keyNorm: own.queryNorm }
              : own,
          ),
        },
      ),
  },
];
