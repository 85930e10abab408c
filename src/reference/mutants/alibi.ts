/** Mistakes of ALiBi. */
import { alibiSlopes } from '../../../attention/scores.js';
import type { Model } from '../../model/load.js';
import { grouped } from './change.js';
import { type Mutant, when } from './mutant.js';

const hasAlibi = ({ config }: Model) =>
  config.layers.some(({ attention }) => attention.kind === 'grouped' && attention.alibi !== null);

const isPower = (count: number) => Number.isInteger(Math.log2(count));

const oneSequence = (heads: number) => Array.from({ length: heads }, (_, i) => 2 ** ((-8 * (i + 1)) / heads));
export const ALIBI_MUTANTS: readonly Mutant[] = [
  {
    name: 'alibi-missing',
    group: 'positions',
    mistake: 'ALiBi is left out: scores do not fall with distance',
    symptom: 'the first token is right, and later ones drift away',
    fix: 'add slope x (key - query) to each score, before the softmax',
    variants: (model) => when(hasAlibi(model), { parts: grouped((attention) => ({ ...attention, alibi: null })) }),
  },
  {
    name: 'alibi-backwards',
    group: 'positions',
    mistake: 'the biases of ALiBi have the other sign, so that far keys weigh most',
    symptom: 'worse the longer the text',
    fix: 'add slope x (key - query), which is never positive',
    variants: (model) =>
      when(hasAlibi(model), {
        parts: grouped((attention) => ({
          ...attention,
          alibi: attention.alibi && { ...attention.alibi, factor: -attention.alibi.factor },
        })),
      }),
  },
  {
    name: 'alibi-slopes',
    group: 'positions',
    mistake: 'the slopes of ALiBi are one geometric sequence over a number of heads that is no power of two',
    symptom: 'all heads are off a little',
    fix: 'take the slopes of the power of two below, and every second one of the next for the heads beyond',
    variants: ({ config }) =>
      when(
        config.layers.some(({ attention }) => attention.kind === 'grouped' && attention.alibi && !isPower(attention.queryHeads)), // biome-ignore format: one thought
        {
          parts: grouped((attention) => ({
            ...attention,
            alibi: attention.alibi && { ...attention.alibi, slopes: oneSequence(attention.queryHeads) },
          })),
        },
      ),
  },
  {
    name: 'alibi-heads-reversed',
    group: 'positions',
    mistake: 'the slopes of ALiBi are given to the heads in the other order',
    symptom: 'all heads are wrong, the first and the last most',
    fix: 'the first head has the first slope of the sequence, the steepest one where heads are a power of two',
    variants: ({ config }) =>
      when(
        config.layers.some(({ attention }) => attention.kind === 'grouped' && attention.alibi && attention.queryHeads > 1), // biome-ignore format: one thought
        {
          parts: grouped((attention) => ({
            ...attention,
            alibi: attention.alibi && { ...attention.alibi, slopes: [...alibiSlopes(attention.queryHeads)].reverse() },
          })),
        },
      ),
  },
  {
    name: 'alibi-exact',
    group: 'positions',
    mistake: 'ALiBi is computed exactly, where this model was trained with keys and products rounded to bfloat16',
    symptom: 'small errors that grow with the distance from position 0',
    fix: 'round the position of a key, and its product with the slope, to bfloat16',
    variants: ({ config }) =>
      when(
        config.layers.some(({ attention }) => attention.kind === 'grouped' && attention.alibi?.form === 'bfloat16'),
        {
          parts: grouped((attention) => ({
            ...attention,
            alibi: attention.alibi && { ...attention.alibi, form: 'distance' },
          })),
        },
      ),
  },
];
