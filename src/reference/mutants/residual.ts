/** Mistakes of the residual stream. */
import type { BranchConfig } from '../../model/config.js';
import type { Model } from '../../model/load.js';
import { flat, type Tensor, zerosLike } from '../../tensor/tensor.js';
import { branches, byBranch, type Change, layers } from './change.js';
import { type Mutant, type Mutation, when } from './mutant.js';

const someBranch = ({ config }: Model, has: (branch: BranchConfig) => boolean) =>
  config.layers.some(({ attentionBranch, feedForwardBranch }) => has(attentionBranch) || has(feedForwardBranch));

const isParallel = ({ config }: Model) => config.layers.some(({ parallel }) => parallel !== null);

/** One branch after the other; where they shared a norm, each has it. */
const sequential: Change = ({ config, weights }) => ({
  config: {
    ...config,
    layers: config.layers.map((layer) => ({
      ...layer,
      parallel: null,
      feedForwardBranch: layer.parallel === 'one-norm' ? layer.attentionBranch : layer.feedForwardBranch,
    })),
  },
  weights: {
    ...weights,
    layers: weights.layers.map((own, i) =>
      config.layers[i]!.parallel === 'one-norm' ? { ...own, feedForwardNorms: own.attentionNorms } : own,
    ),
  },
});

/** Parts one after the other, each added to what went into it. */
const isPlain = (model: Model) =>
  !isParallel(model) && !someBranch(model, ({ sumNorm, addsToNormed }) => sumNorm !== null || addsToNormed);

/** What a branch is added to is taken away again. @param sum where it was added, in each layer */
function withoutStream(sum: 'attention.residual' | 'output'): NonNullable<Mutation['splice']> {
  const isBefore = sum === 'output' ? /^layers\.\d+\.attention\.residual$/ : /^(embeddings|layers\.\d+\.output)$/;
  const isSum = sum === 'output' ? /^layers\.\d+\.output$/ : /^layers\.\d+\.attention\.residual$/;
  return () => {
    let before: Tensor | null = null;
    return (point, value) => {
      if (isSum.test(point) && before) return difference(value, before);
      if (isBefore.test(point)) before = copied(value);
      return value;
    };
  };
}

function copied(x: Tensor): Tensor {
  const copy = zerosLike(x, x.shape);
  copy.data.set(flat(x));
  return copy;
}

function difference(a: Tensor, b: Tensor): Tensor {
  const own = copied(a);
  flat(b).forEach((value, i) => {
    own.data[i] = own.data[i]! - value;
  });
  return own;
}

export const RESIDUAL_MUTANTS: readonly Mutant[] = [
  {
    name: 'sequential-for-parallel',
    group: 'residual stream',
    mistake: 'attention and feed-forward come one after the other, where this model has them side by side',
    symptom: 'every row is off, the first too',
    fix: 'x + attention(norm x) + feed_forward(norm x), both of the same x',
    variants: (model) => when(isParallel(model), { parts: sequential }),
  },
  {
    name: 'parallel-for-sequential',
    group: 'residual stream',
    mistake: 'attention and feed-forward begin at the same x, where this model has one after the other',
    symptom: 'every row is off, the first too',
    fix: 'add what attention has made before the feed-forward layer sees x',
    variants: (model) =>
      when(isPlain(model), {
        parts: layers((layer) => ({ ...layer, parallel: 'own-norms' })),
      }),
  },
  {
    name: 'residual-factor-missing',
    group: 'residual stream',
    mistake: 'what a part makes is added without its factor',
    symptom: 'every row is off, the first too',
    fix: 'multiply by residual_multiplier (Granite), or scale_depth / sqrt(layers) (MiniCPM)',
    variants: (model) =>
      byBranch(
        model,
        ({ scale }) => scale !== 1,
        (branch) => ({ ...branch, scale: 1 }),
      ),
  },
  {
    name: 'residual-of-input',
    group: 'residual stream',
    mistake: 'a part is added to its input, where this model adds it to the normed input',
    symptom: 'every row is off, the first too',
    fix: 'add to the output of the norm (apply_residual_connection_post_layernorm)',
    variants: (model) =>
      when(
        someBranch(model, ({ addsToNormed }) => addsToNormed),
        { parts: branches((branch) => ({ ...branch, addsToNormed: false })) },
      ),
  },
  {
    name: 'residual-of-norm',
    group: 'residual stream',
    mistake: 'a part is added to its normed input, where this model adds it to the input itself',
    symptom: 'every row is off, the first too',
    fix: 'keep x before the norm, and add to that',
    variants: (model) =>
      isParallel(model)
        ? []
        : byBranch(
            model,
            ({ inputNorm, addsToNormed }) => inputNorm && !addsToNormed,
            (branch) => ({ ...branch, addsToNormed: branch.inputNorm !== null }),
          ),
  },
  {
    name: 'attention-residual-missing',
    group: 'residual stream',
    mistake: 'what attention makes takes the place of x, and is not added to it',
    symptom: 'attention.output is right, and attention.residual is the same',
    fix: 'x = x + attention(norm x)',
    variants: (model) => when(isPlain(model), { splice: withoutStream('attention.residual') }),
  },
  {
    name: 'feed-forward-residual-missing',
    group: 'residual stream',
    mistake: 'what the feed-forward layer makes takes the place of x, and is not added to it',
    symptom: "feed_forward.output is right, and the layer's output is the same",
    fix: 'x = x + feed_forward(norm x)',
    variants: (model) => when(isPlain(model), { splice: withoutStream('output') }),
  },
  {
    name: 'last-layer-missing',
    group: 'residual stream',
    mistake: 'the last layer is not run: the loop ends one too early',
    symptom: 'all layers are right but the last, whose output is its input',
    fix: 'run num_hidden_layers layers, from 0 on',
    variants: ({ config }) =>
      when(config.layers.length > 1, {
        splice: (model) => {
          const last = model.config.layers.length - 1;
          let before: Tensor | null = null;
          return (point, value) => {
            if (point === `layers.${last - 1}.output`) before = copied(value);
            return point === `layers.${last}.output` && before ? before : value;
          };
        },
      }),
  },
  {
    name: 'layers-share-weights',
    group: 'residual stream',
    mistake:
      'all layers have the weights of the first: the number of the layer is missing in the names that are loaded',
    symptom: 'the first layer is right, and the second is off',
    fix: 'load model.layers.{i}. for each i',
    variants: ({ config: { layers: all } }) => {
      const { attention, feedForward } = all[0]!;
      const isAlike = all.every(
        (layer) => layer.attention.kind === attention.kind && layer.feedForward.kind === feedForward.kind,
      );
      return when(all.length > 1 && isAlike, {
        parts: ({ config, weights }) => ({
          config,
          weights: { ...weights, layers: weights.layers.map(() => weights.layers[0]!) },
        }),
      });
    },
  },
];
