/** Mistakes of where norms stand. */
import type { BranchConfig } from '../../model/config.js';
import type { Model } from '../../model/load.js';
import type { BranchWeights } from '../../model/weights.js';
import { branches, branchWeights, byBranch, type Change } from './change.js';
import { type Mutant, when } from './mutant.js';

const someBranch = ({ config }: Model, has: (branch: BranchConfig) => unknown) =>
  config.layers.some(({ attentionBranch, feedForwardBranch }) =>
    Boolean(has(attentionBranch) || has(feedForwardBranch)),
  );

/** The norm after a part goes before it, or the other way round; those of the sum stay. */
const exchanged: Change = (parts) => {
  const config = branches((branch) => ({ ...branch, inputNorm: branch.outputNorm, outputNorm: branch.inputNorm }));
  const weights = branchWeights((own): BranchWeights => ({ ...own, input: own.output, output: own.input }));
  return weights(config(parts));
};

const preForPost: Change = (parts) => {
  const config = branches((branch) => ({
    ...branch,
    inputNorm: branch.sumNorm ?? branch.inputNorm,
    sumNorm: branch.sumNorm ? null : branch.sumNorm,
  }));
  const weights = branchWeights((own): BranchWeights => ({ ...own, input: own.sum ?? own.input, sum: null }));
  return weights(config(parts));
};

const postForPre: Change = (parts) => {
  const config = branches((branch) =>
    branch.inputNorm && !branch.outputNorm && !branch.sumNorm
      ? { ...branch, inputNorm: null, sumNorm: branch.inputNorm }
      : branch,
  );
  const weights = branchWeights(
    (own): BranchWeights =>
      own.input && !own.output && !own.sum ? { input: null, output: null, sum: own.input } : own,
  );
  return weights(config(parts));
};

export const NORM_PLACE_MUTANTS: readonly Mutant[] = [
  {
    name: 'final-norm-missing',
    group: 'norms',
    mistake: 'the last hidden states are not normed before the head',
    symptom: 'all layers are right, and logits are too large or too small',
    fix: 'norm them (model.norm, ln_f)',
    variants: ({ config }) =>
      when(config.finalNorm, {
        parts: (parts) => ({
          config: { ...parts.config, finalNorm: null },
          weights: { ...parts.weights, finalNorm: null },
        }),
      }),
  },
  {
    name: 'norms-swapped',
    group: 'norms',
    mistake:
      'the norm before attention has the weights of the one before the feed-forward layer, and the other way round',
    symptom: 'every row is off, the first too',
    fix: 'input_layernorm stands before attention, post_attention_layernorm before the feed-forward layer',
    variants: ({ weights }) =>
      when(
        weights.layers.some(
          ({ attentionNorms, feedForwardNorms }) => attentionNorms.input?.weight && feedForwardNorms.input?.weight,
        ),
        {
          parts: (parts) => ({
            config: parts.config,
            weights: {
              ...parts.weights,
              layers: parts.weights.layers.map((own) =>
                own.attentionNorms.input && own.feedForwardNorms.input
                  ? {
                      ...own,
                      attentionNorms: { ...own.attentionNorms, input: own.feedForwardNorms.input },
                      feedForwardNorms: { ...own.feedForwardNorms, input: own.attentionNorms.input },
                    }
                  : own,
              ),
            },
          }),
        },
      ),
  },
  {
    name: 'norm-output-for-input',
    group: 'norms',
    mistake: 'norms stand before a part where this model has them after it: pre-norm for post-norm',
    symptom: 'every row is off, the first too',
    fix: 'OLMo 2 norms what a part has made; most others norm what goes into it',
    variants: (model) =>
      when(
        someBranch(model, ({ inputNorm, outputNorm }) => Boolean(inputNorm) !== Boolean(outputNorm) && outputNorm),
        { parts: exchanged },
      ),
  },
  {
    name: 'pre-for-post-norm',
    group: 'norms',
    mistake: 'norms stand before each part where this model has them after each sum (post-norm)',
    symptom: 'every row is off, the first too',
    fix: 'norm(x + part(x)), as in the first transformer',
    variants: (model) =>
      when(
        someBranch(model, ({ sumNorm }) => sumNorm),
        { parts: preForPost },
      ),
  },
  {
    name: 'post-for-pre-norm',
    group: 'norms',
    mistake: 'norms stand after each sum where this model has them before each part (pre-norm)',
    symptom: 'every row is off, the first too',
    fix: 'x + part(norm(x))',
    variants: (model) =>
      when(
        someBranch(model, ({ inputNorm, outputNorm, sumNorm }) => inputNorm && !outputNorm && !sumNorm) &&
          !model.config.layers.some(({ parallel }) => parallel),
        { parts: postForPre },
      ),
  },
  {
    name: 'output-norm-missing',
    group: 'norms',
    mistake: 'what a part makes is not normed before it is added',
    symptom: 'every row is off, the first too, and grows from layer to layer',
    fix: 'norm it (post_attention_layernorm and post_feedforward_layernorm of Gemma 2 and OLMo 2)',
    variants: (model) =>
      byBranch(
        model,
        ({ outputNorm }) => outputNorm,
        (branch) => ({ ...branch, outputNorm: null }),
      ),
  },
  {
    name: 'embedding-norm-missing',
    group: 'norms',
    mistake: 'embedded tokens are not normed',
    symptom: 'every row is off from the first layer on',
    fix: 'norm them (word_embeddings_layernorm of BLOOM)',
    variants: ({ config }) =>
      when(config.embedding.norm, {
        parts: (parts) => ({
          config: { ...parts.config, embedding: { ...parts.config.embedding, norm: null } },
          weights: parts.weights,
        }),
      }),
  },
];
