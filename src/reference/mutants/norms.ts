/** Mistakes of norms. */
import type { NormConfig, NormWeights } from '../../math/norm.js';
import type { Model } from '../../model/load.js';
import type { Floats } from '../../tensor/tensor.js';
import { normsOf } from '../features/parts.js';
import type { Change } from './change.js';
import { innerNorms, innerNormWeights, norms, normWeights } from './change-norms.js';
import { type Mutant, type Variant, when } from './mutant.js';

const some = ({ config }: Model, has: (norm: NormConfig) => boolean) => normsOf(config).some(has);

const mapped = (values: Floats | null, change: (x: number) => number): Floats | null => {
  if (!values) return null;
  const own = values.slice();
  for (let i = 0; i < own.length; i++) own[i] = change(own[i]!);
  return own;
};

const ones = (width: number): Floats => new Float64Array(width).fill(1);

/** A mistake of the norms around parts alone, and where there are others, of all of them: ports have one norm for all. */
function inEveryWay({ config }: Model, around: Change, inner: Change, label = ''): readonly Variant[] {
  const hasInner = config.layers.some(({ attention }) => attention.kind === 'latent' || attention.qkNorm !== null);
  const named = (more: string) => [label, hasInner ? more : ''].filter((part) => part !== '').join(', ');
  const all: Variant = { label: named('all norms'), parts: (parts) => inner(around(parts)) };
  return hasInner ? [{ label: named('around parts'), parts: around }, all] : [{ label, parts: around }];
}

function whenNorms(
  model: Model,
  has: (norm: NormConfig) => boolean,
  weightsChange: Parameters<typeof normWeights>[0],
): readonly Variant[] {
  return some(model, has) ? inEveryWay(model, normWeights(weightsChange), innerNormWeights(weightsChange)) : [];
}

function whenKinds(
  model: Model,
  has: (norm: NormConfig) => boolean,
  change: Parameters<typeof norms>[0],
): readonly Variant[] {
  return some(model, has) ? inEveryWay(model, norms(change), innerNorms(change)) : [];
}

const moreWeight = (by: number) => (own: NormWeights, norm: NormConfig) =>
  (norm.weightOffset === 0) === by > 0 ? { ...own, weight: mapped(own.weight, (x) => x + by) } : own;

const EPSILONS = [1e-5, 1e-6];

function epsilons(model: Model): readonly Variant[] {
  const change = (eps: number) => (norm: NormConfig) => ({ ...norm, eps });
  return EPSILONS.filter((eps) => some(model, (norm) => norm.eps !== eps)).flatMap((eps) =>
    inEveryWay(model, norms(change(eps)), innerNorms(change(eps)), `eps ${eps.toExponential()}`),
  );
}

export const NORM_MUTANTS: readonly Mutant[] = [
  {
    name: 'norm-without-one',
    group: 'norms',
    mistake: 'norms multiply by the stored weight, where this model stores how far it lies from 1',
    symptom: 'all rows are garbage: what is normed nearly vanishes',
    fix: 'multiply by 1 + weight (Gemma, Nemotron)',
    variants: (model) => whenNorms(model, ({ weightOffset }) => weightOffset === 1, moreWeight(-1)),
  },
  {
    name: 'norm-with-one',
    group: 'norms',
    mistake: 'norms multiply by 1 + weight, as in Gemma, where this model stores the factor itself',
    symptom: 'all rows are off: what is normed is about twice too large',
    fix: 'multiply by the weight as it is stored',
    variants: (model) => whenNorms(model, ({ weightOffset, weight }) => weight && weightOffset === 0, moreWeight(1)),
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
    name: 'rms-for-layer-norm',
    group: 'norms',
    mistake: 'the mean is not taken away: an RMS norm where a layer norm should be',
    symptom: 'every row is off, the first too',
    fix: '(x - mean) / sqrt(var + eps)',
    variants: (model) =>
      whenKinds(
        model,
        ({ kind }) => kind === 'layer',
        (norm) => ({ ...norm, kind: 'rms' }),
      ),
  },
  {
    name: 'layer-norm-for-rms',
    group: 'norms',
    mistake: 'the mean is taken away: a layer norm where an RMS norm should be',
    symptom: 'every row is off, the first too',
    fix: 'x / sqrt(mean(x^2) + eps)',
    variants: (model) =>
      whenKinds(
        model,
        ({ kind }) => kind === 'rms',
        (norm) => ({ ...norm, kind: 'layer' }),
      ),
  },
  {
    name: 'norm-unbiased',
    group: 'norms',
    mistake: 'the variance of layer norms is divided by D - 1',
    symptom: 'what is normed is off by the same small factor in every row: sqrt((D - 1) / D)',
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
      whenNorms(
        model,
        ({ bias }) => bias,
        (own) => ({ ...own, bias: null }),
      ),
  },
  {
    name: 'norm-weight-missing',
    group: 'norms',
    mistake: 'what is normed is not multiplied by the learned weight',
    symptom: 'every row is off, the first too',
    fix: 'load norm.weight, and multiply by it',
    variants: (model) =>
      whenNorms(
        model,
        ({ weight }) => weight,
        (own) => ({ ...own, weight: null }),
      ),
  },
];
