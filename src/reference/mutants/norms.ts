/** Mistakes of norms. */
import type { NormConfig } from '../../math/norm.js';
import type { BranchConfig } from '../../model/config.js';
import type { Model } from '../../model/load.js';
import type { BranchWeights } from '../../model/weights.js';
import { roundToBfloat16 } from '../../tensor/dtype.js';
import { type Floats, flat, zerosLike } from '../../tensor/tensor.js';
import { normsOf } from '../features/parts.js';
import { branches, branchWeights, type Change, norms, normWeights } from './change.js';
import { type Mutant, type Variant, when } from './mutant.js';

const some = ({ config }: Model, has: (norm: NormConfig) => boolean) => normsOf(config).some(has);

const someBranch = ({ config }: Model, has: (branch: BranchConfig) => unknown) =>
  config.layers.some(({ attentionBranch, feedForwardBranch }) =>
    Boolean(has(attentionBranch) || has(feedForwardBranch)),
  );

const mapped = (values: Floats | null, change: (x: number) => number): Floats | null => {
  if (!values) return null;
  const own = values.slice();
  for (let i = 0; i < own.length; i++) own[i] = change(own[i]!);
  return own;
};

const ones = (width: number): Floats => new Float64Array(width).fill(1);

const moreWeight = (by: number): Change =>
  normWeights((own, norm) =>
    (norm.weightOffset === 0) === by > 0 ? { ...own, weight: mapped(own.weight, (x) => x + by) } : own,
  );

const EPSILONS = [1e-5, 1e-6];

function epsilons(model: Model): readonly Variant[] {
  return EPSILONS.filter((eps) => some(model, (norm) => norm.eps !== eps)).map((eps) => ({
    label: `eps ${eps}`,
    parts: norms((norm) => ({ ...norm, eps })),
  }));
}

/** The norm after a part goes before it, or the other way round; those of the sum stay. */
const exchanged: Change = (parts) => {
  const config = branches((branch) => ({ ...branch, inputNorm: branch.outputNorm, outputNorm: branch.inputNorm }));
  const weights = branchWeights((own): BranchWeights => ({ ...own, input: own.output, output: own.input }));
  return weights(config(parts));
};

const postForPre: Change = (parts) => {
  const config = branches((branch) => ({
    ...branch,
    inputNorm: branch.sumNorm ?? branch.inputNorm,
    sumNorm: branch.sumNorm ? null : branch.sumNorm,
  }));
  const weights = branchWeights((own): BranchWeights => ({ ...own, input: own.sum ?? own.input, sum: null }));
  return weights(config(parts));
};

const preForPost: Change = (parts) => {
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

const NORMED = /(\.(attention|feed_forward)\.(input|output_norm)|^final_norm)$/;

export const NORM_MUTANTS: readonly Mutant[] = [
  {
    name: 'norm-without-one',
    group: 'norms',
    mistake: 'norms multiply by the stored weight, where this model stores how far it lies from 1',
    symptom: 'all rows are garbage: what is normed nearly vanishes',
    fix: 'multiply by 1 + weight (Gemma, Nemotron)',
    variants: (model) =>
      when(
        some(model, ({ weightOffset }) => weightOffset === 1),
        { parts: moreWeight(-1) },
      ),
  },
  {
    name: 'norm-with-one',
    group: 'norms',
    mistake: 'norms multiply by 1 + weight, as in Gemma, where this model stores the factor itself',
    symptom: 'all rows are off: what is normed is about twice too large',
    fix: 'multiply by the weight as it is stored',
    variants: (model) =>
      when(
        some(model, ({ weightOffset, weight }) => weight && weightOffset === 0),
        { parts: moreWeight(1) },
      ),
  },
  {
    name: 'norm-eps',
    group: 'norms',
    mistake: 'the norms have another eps',
    symptom: 'tiny errors, larger where what is normed is small: at the first layers',
    fix: 'read rms_norm_eps, layer_norm_eps or norm_eps from the config',
    variants: epsilons,
  },
  {
    name: 'norm-in-half',
    group: 'narrow precision',
    mistake: 'norms are computed in bfloat16: squares, mean and root are rounded',
    symptom: 'errors of some thousandths in every row',
    fix: 'norm in float32, and round the result',
    variants: (model) =>
      when(normsOf(model.config).length > 0, {
        splice: () => (point, value) => {
          if (!NORMED.test(point)) return value;
          const own = zerosLike(value, value.shape);
          flat(value).forEach((x, i) => {
            own.data[i] = roundToBfloat16(x);
          });
          return own;
        },
      }),
  },
  {
    name: 'rms-for-layer-norm',
    group: 'norms',
    mistake: 'the mean is not taken away: an RMS norm where a layer norm should be',
    symptom: 'every row is off, the first too',
    fix: '(x - mean) / sqrt(var + eps)',
    variants: (model) =>
      when(
        some(model, ({ kind }) => kind === 'layer'),
        { parts: norms((norm) => ({ ...norm, kind: 'rms' })) },
      ),
  },
  {
    name: 'layer-norm-for-rms',
    group: 'norms',
    mistake: 'the mean is taken away: a layer norm where an RMS norm should be',
    symptom: 'every row is off, the first too',
    fix: 'x / sqrt(mean(x^2) + eps)',
    variants: (model) =>
      when(
        some(model, ({ kind }) => kind === 'rms'),
        { parts: norms((norm) => ({ ...norm, kind: 'layer' })) },
      ),
  },
  {
    name: 'norm-unbiased',
    group: 'norms',
    mistake: 'the variance of layer norms is divided by D - 1',
    symptom: 'every row is off by the same small factor',
    fix: "divide by D: torch.var has unbiased=True for its default, layer norms don't",
    variants: (model) =>
      when(
        some(model, ({ kind }) => kind === 'layer'),
        {
          // (x - mean) / sqrt(var D / (D - 1) + eps), with a factor that was taken out of the root.
          parts: (parts) => {
            const factor = (parts.config.width - 1) / parts.config.width;
            const config = norms((norm) => (norm.kind === 'layer' ? { ...norm, eps: norm.eps * factor } : norm));
            const weights = normWeights((own, norm) =>
              norm.kind === 'layer'
                ? { ...own, weight: mapped(own.weight ?? ones(parts.config.width), (x) => x * Math.sqrt(factor)) }
                : own,
            );
            return weights(config(parts));
          },
        },
      ),
  },
  {
    name: 'norm-bias-missing',
    group: 'norms',
    mistake: 'the biases of layer norms are left out',
    symptom: 'every row is off, the first too',
    fix: 'load norm.bias',
    variants: (model) =>
      when(
        some(model, ({ bias }) => bias),
        { parts: normWeights((own) => ({ ...own, bias: null })) },
      ),
  },
  {
    name: 'norm-weight-missing',
    group: 'norms',
    mistake: 'what is normed is not multiplied by the learned weight',
    symptom: 'every row is off, the first too',
    fix: 'load norm.weight, and multiply by it',
    variants: (model) =>
      when(
        some(model, ({ weight }) => weight),
        { parts: normWeights((own) => ({ ...own, weight: null })) },
      ),
  },
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
    mistake:
      'norms stand before a part where this model has them after it, or the other way round: pre-norm for post-norm',
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
        { parts: postForPre },
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
        { parts: preForPost },
      ),
  },
  {
    name: 'output-norm-missing',
    group: 'norms',
    mistake: 'what a part makes is not normed before it is added',
    symptom: 'every row is off, the first too, and grows from layer to layer',
    fix: 'norm it (post_attention_layernorm and post_feedforward_layernorm of Gemma 2 and OLMo 2)',
    variants: (model) =>
      when(
        someBranch(model, ({ outputNorm }) => outputNorm),
        { parts: branches((branch) => ({ ...branch, outputNorm: null })) },
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
