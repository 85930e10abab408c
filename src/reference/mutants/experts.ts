/** Mistakes of routers and experts. */
import type { ExpertsConfig, GroupedRouting, RouterConfig } from '../../model/config.js';
import type { Model } from '../../model/load.js';
import { type Change, experts, expertsWeights, router } from './change.js';
import { type Mutant, when } from './mutant.js';
import { isCorrected, softmaxForSigmoid } from './softmax-router.js';

const some = ({ config }: Model, has: (own: ExpertsConfig) => unknown) =>
  config.layers.some(({ feedForward }) => feedForward.kind === 'experts' && Boolean(has(feedForward)));

const grouped = ({ router: own }: ExpertsConfig): GroupedRouting | null => ('groups' in own ? own : null);

const hasRouter = (model: Model, has: (own: RouterConfig) => boolean) => some(model, (own) => has(own.router));

const PLAIN: GroupedRouting = { groups: 1, groupsPerToken: 1, normalise: false, scale: 1 };

const becomes = (from: RouterConfig['kind'], to: (own: RouterConfig) => RouterConfig): Change =>
  router((own) => (own.kind === from ? to(own) : own));

function softmaxOf(own: RouterConfig): RouterConfig {
  if (own.kind === 'grouped-sigmoid') return { ...own, kind: 'softmax-top-k' };
  return own.kind === 'top-k-sigmoid' ? { kind: 'top-k-softmax' } : own;
}

const perTokenBy = (by: number): Change =>
  experts((own) => ({ ...own, perToken: Math.min(Math.max(own.perToken + by, 1), own.count) }));

export const EXPERT_MUTANTS: readonly Mutant[] = [
  {
    name: 'router-softmax-before',
    group: 'experts',
    mistake:
      'the softmax of the router runs over all experts before the best are taken, where this model takes the best and runs it over those',
    symptom: 'tokens go to the right experts, whose outputs weigh too little',
    fix: 'choose first, softmax over the chosen logits then (or divide by the sum of those chosen, which is the same)',
    variants: (model) =>
      when(
        hasRouter(model, ({ kind }) => kind === 'top-k-softmax'),
        { parts: becomes('top-k-softmax', () => ({ kind: 'softmax-top-k', ...PLAIN })) },
      ),
  },
  {
    name: 'router-softmax-after',
    group: 'experts',
    mistake:
      'the softmax of the router runs over the chosen experts, where this model runs it over all and takes the best then',
    symptom: 'tokens go to the right experts, whose outputs weigh too much',
    fix: 'softmax over all experts first',
    variants: (model) =>
      when(
        hasRouter(model, (own) => own.kind === 'softmax-top-k' && !own.normalise && own.groups === 1),
        { parts: becomes('softmax-top-k', () => ({ kind: 'top-k-softmax' })) },
      ),
    sameAs: {
      'router-normalised': 'a softmax over the chosen ones is one over all, divided by their sum',
    },
  },
  {
    name: 'router-not-normalised',
    group: 'experts',
    mistake: 'the weights of the chosen experts are not divided by their sum',
    symptom: 'tokens go to the right experts, whose outputs weigh too little (or too much)',
    fix: 'divide by the sum where norm_topk_prob is true (always in Mixtral)',
    variants: (model) =>
      when(
        some(model, (own) => grouped(own)?.normalise),
        { parts: router((own) => ('normalise' in own ? { ...own, normalise: false } : own)) },
      ),
  },
  {
    name: 'router-normalised',
    group: 'experts',
    mistake: 'the weights of the chosen experts are divided by their sum, which this model does not do',
    symptom: 'tokens go to the right experts, whose outputs weigh too much',
    fix: 'leave them as they are where norm_topk_prob is false',
    variants: (model) =>
      when(
        some(model, (own) => grouped(own)?.normalise === false),
        { parts: router((own) => ('normalise' in own ? { ...own, normalise: true } : own)) },
      ),
  },
  {
    name: 'router-sigmoid',
    group: 'experts',
    mistake: 'experts are scored by a sigmoid each, where this model has a softmax over all',
    symptom: 'tokens go to the right experts, with wrong weights',
    fix: 'look at scoring_func',
    variants: (model) =>
      when(
        hasRouter(model, ({ kind }) => kind === 'top-k-softmax' || kind === 'softmax-top-k'),
        {
          parts: router((own) => {
            if (own.kind === 'softmax-top-k') return { ...own, kind: 'grouped-sigmoid' };
            return own.kind === 'top-k-softmax' ? { kind: 'top-k-sigmoid' } : own;
          }),
        },
      ),
  },
  {
    name: 'router-softmax',
    group: 'experts',
    mistake: 'experts are scored by a softmax over all, where this model has a sigmoid each',
    symptom: 'tokens go to nearly the right experts, with wrong weights',
    fix: 'look at scoring_func (DeepSeek-V3: sigmoid), and add the correction to what it gives',
    variants: (model) => [
      ...(some(model, isCorrected) ? [{ label: 'with the correction', splice: softmaxForSigmoid }] : []),
      ...(hasRouter(model, ({ kind }) => kind === 'grouped-sigmoid' || kind === 'top-k-sigmoid')
        ? [{ label: some(model, isCorrected) ? 'without the correction' : '', parts: router(softmaxOf) }]
        : []),
    ],
  },
  {
    name: 'router-scale-missing',
    group: 'experts',
    mistake: 'the weights of experts are not multiplied by the routed scaling factor',
    symptom: 'experts weigh too little beside the shared one',
    fix: 'multiply by routed_scaling_factor, after they were divided by their sum',
    variants: (model) =>
      when(
        some(model, (own) => (grouped(own)?.scale ?? 1) !== 1),
        { parts: router((own) => ('scale' in own ? { ...own, scale: 1 } : own)) },
      ),
  },
  {
    name: 'router-groups-missing',
    group: 'experts',
    mistake: 'experts are chosen among all, where this model chooses groups of them first',
    symptom: 'some tokens go to other experts, others are right',
    fix: 'keep the experts of the best topk_group groups of n_group alone',
    variants: (model) =>
      when(
        some(model, (own) => (grouped(own)?.groups ?? 1) > (grouped(own)?.groupsPerToken ?? 1)),
        { parts: router((own) => ('groups' in own ? { ...own, groups: 1, groupsPerToken: 1 } : own)) },
      ),
  },
  {
    name: 'router-correction-missing',
    group: 'experts',
    mistake: 'the learned correction takes no part in the choice of experts',
    symptom: 'some tokens go to other experts, others are right',
    fix: 'add e_score_correction_bias to the scores by which experts are chosen, and to those alone',
    variants: ({ weights }) =>
      when(
        weights.layers.some(({ feedForward }) => feedForward.kind === 'experts' && feedForward.correction),
        { parts: expertsWeights((own) => ({ ...own, correction: null })) },
      ),
  },
  {
    name: 'router-bias-missing',
    group: 'experts',
    mistake: "the router's bias is left out",
    symptom: 'some tokens go to other experts, and weights are off',
    fix: 'load router.bias',
    variants: ({ weights }) =>
      when(
        weights.layers.some(({ feedForward }) => feedForward.kind === 'experts' && feedForward.router.bias),
        { parts: expertsWeights((own) => ({ ...own, router: { ...own.router, bias: null } })) },
      ),
  },
  {
    name: 'experts-one-fewer',
    group: 'experts',
    mistake: 'each token goes to one expert fewer than it should',
    symptom: 'every row is off',
    fix: 'look at num_experts_per_tok',
    variants: (model) =>
      when(
        some(model, ({ perToken }) => perToken > 1),
        { parts: perTokenBy(-1) },
      ),
  },
  {
    name: 'experts-one-more',
    group: 'experts',
    mistake: 'each token goes to one expert more than it should',
    symptom: 'every row is off',
    fix: 'look at num_experts_per_tok',
    variants: (model) =>
      when(
        some(model, ({ perToken, count }) => perToken < count),
        { parts: perTokenBy(1) },
      ),
  },
  {
    name: 'experts-shifted',
    group: 'experts',
    mistake: 'experts are numbered from one where they should be from zero: each token goes to the next one',
    symptom: "the router's numbers are right, and what its experts make is not",
    fix: 'count experts from 0, and look in which order their weights are stacked',
    variants: (model) =>
      when(
        some(model, ({ count }) => count > 1),
        {
          parts: expertsWeights((own) => ({
            ...own,
            experts: own.experts.map((_, e) => own.experts[(e + 1) % own.experts.length]!),
          })),
        },
      ),
  },
  {
    name: 'shared-expert-missing',
    group: 'experts',
    mistake: 'the shared expert is left out',
    symptom: 'every row is off from the first layer with experts on',
    fix: 'add what it makes of every token to what the chosen ones make',
    variants: (model) =>
      when(
        some(model, ({ shared }) => shared),
        { parts: experts((own) => ({ ...own, shared: null })) },
      ),
  },
  {
    name: 'shared-gate-missing',
    group: 'experts',
    mistake: 'what the shared expert makes is not multiplied by its gate',
    symptom: 'every row is off from the first layer with experts on',
    fix: 'multiply by sigmoid(shared_expert_gate(x))',
    variants: (model) =>
      when(
        some(model, ({ shared }) => shared?.gate),
        { parts: experts((own) => ({ ...own, shared: own.shared && { ...own.shared, gate: false } })) },
      ),
  },
  {
    name: 'routed-output-for-input',
    group: 'experts',
    mistake: "the router's weights multiply what experts make, where this model multiplies what goes into them",
    symptom: 'tokens go to the right experts, whose outputs are off',
    fix: 'multiply what goes into an expert by its weight (Llama 4: router scores on the hidden states)',
    variants: (model) =>
      when(
        some(model, ({ weighs }) => weighs === 'input'),
        { parts: experts((own) => ({ ...own, weighs: 'output' })) },
      ),
  },
];
