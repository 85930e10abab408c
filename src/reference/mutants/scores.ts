import type { Model } from '../../model/load.js';
import { grouped, groupedOf, keyDim, scale } from './change.js';
import { softmaxIn, withWeights } from './kernels.js';
import { type Mutant, when } from './mutant.js';

const scalesOf = ({ config }: Model) => config.layers.map(({ attention }) => attention.scale);

const defaultScale = (attention: Parameters<typeof keyDim>[0]) => 1 / Math.sqrt(keyDim(attention));

const differs = (a: number, b: number) => Math.abs(a / b - 1) > 1e-9;

export const SCORE_MUTANTS: readonly Mutant[] = [
  {
    name: 'scale-missing',
    group: 'scores',
    mistake: 'scores are not scaled',
    symptom: 'the first token is right, and attention is far too sharp for all others',
    fix: "multiply q . k by the model's scale (1 / sqrt(head dim) for most)",
    variants: (model) =>
      when(
        scalesOf(model).some((own) => own !== 1),
        { parts: scale(() => 1) },
      ),
    sameAs: { 'scale-default': 'the model has a scale that is its own default' },
  },
  {
    name: 'scale-twice',
    group: 'scores',
    mistake: 'scores are scaled twice: on the queries, and once more by a fused kernel',
    symptom: 'the first token is right, and attention is far too flat for all others',
    fix: 'pass scale = 1 to the kernel, or leave queries as they are',
    variants: (model) =>
      when(
        scalesOf(model).some((own) => own !== 1),
        { parts: scale((attention) => attention.scale ** 2) },
      ),
    sameAs: { 'scale-by-width': 'where scale squared is 1 / sqrt(D)' },
  },
  {
    name: 'scale-by-width',
    group: 'scores',
    mistake: 'scores are multiplied by 1 / sqrt(D) of the model width, not of the head dim',
    symptom: 'the first token is right, and attention is too flat for all others',
    fix: 'take the head dim: D / H, or head_dim where the config has it',
    variants: ({ config }) =>
      when(
        config.layers.some(({ attention }) => differs(attention.scale, 1 / Math.sqrt(config.width))),
        { parts: scale((_, { width }) => 1 / Math.sqrt(width)) },
      ),
    sameAs: { 'scale-default': 'heads are as wide as the model' },
  },
  {
    name: 'scale-default',
    group: 'scores',
    mistake:
      "scores are multiplied by 1 / sqrt(head dim), where this model has a scale of its own (or yarn's mscale in it)",
    symptom: 'the first token is right, and attention is too sharp or too flat for all others',
    fix: 'read the scale: query_pre_attn_scalar, attention_multiplier, mscale_all_dim, or none at all (GPT-Neo)',
    variants: ({ config }) =>
      when(
        config.layers.some(({ attention }) => differs(attention.scale, defaultScale(attention))),
        { parts: scale(defaultScale) },
      ),
  },
  {
    name: 'score-softcap-missing',
    group: 'scores',
    mistake: 'scores are not capped',
    symptom: 'nearly right where scores are small, off where they are large',
    fix: 'cap tanh(score / cap) after the scale, before the mask (attn_logit_softcapping)',
    variants: (model) =>
      when(
        groupedOf(model).some(({ softcap: cap }) => cap !== null),
        { parts: grouped((attention) => ({ ...attention, softcap: null })) },
      ),
  },
  {
    name: 'score-softcap-after-mask',
    group: 'scores',
    mistake:
      'scores are capped after the mask was added, so that masked keys have the score -cap and are seen a little',
    symptom: 'rows look right where scores are far from the cap, and the future leaks in',
    fix: 'cap first, mask afterwards',
    variants: (model) =>
      when(
        groupedOf(model).some(({ softcap: cap }) => cap !== null),
        {
          byPass: true,
          attends: (layer, own) =>
            withWeights(
              ({ t, seen, scores }, call) => {
                const { softcap: cap } = layer.strategy;
                const query = call.positions[t]!;
                for (let i = 0; i < seen.count; i++) {
                  if (!layer.visibility.sees(query, seen.positions[i]!)) scores[i] = cap === null ? Number.NEGATIVE_INFINITY : -cap; // biome-ignore format: one thought
                }
                softmaxIn((x) => x, scores, seen.count, null);
              },
              (call) => ({ ...call, visibility: { ...call.visibility, sees: () => true } }),
            )(layer, own),
        },
      ),
  },
  {
    name: 'sinks-missing',
    group: 'scores',
    mistake: 'the learned sink of each head takes no part of its softmax',
    symptom: 'every row is off, the first most: attention gives more than it should',
    fix: 'add exp(sink) to the sum that weights are divided by',
    variants: (model) =>
      when(
        groupedOf(model).some(({ sinks }) => sinks),
        { parts: grouped((attention) => ({ ...attention, sinks: false })) },
      ),
  },
  {
    name: 'clip-missing',
    group: 'scores',
    mistake: 'queries, keys and values are not clipped (clip_qkv)',
    symptom: 'right where they are small, off where they are not',
    fix: 'keep them within [-clip, clip]',
    variants: (model) =>
      when(
        groupedOf(model).some(({ clip }) => clip !== null),
        { parts: grouped((attention) => ({ ...attention, clip: null })) },
      ),
  },
  {
    name: 'temperature-missing',
    group: 'scores',
    mistake: 'queries do not grow with their position in layers without rope (attn_temperature_tuning)',
    symptom: 'right on short texts, off beyond floor_scale tokens',
    fix: 'multiply queries by ln(1 + floor((position + 1) / floor_scale)) attn_scale + 1',
    variants: (model) =>
      when(
        groupedOf(model).some(({ temperature }) => temperature),
        { parts: grouped((attention) => ({ ...attention, temperature: null })) },
      ),
  },
];
