/** Mistakes of the residual stream. */
import type { BranchConfig } from '../../model/config.js';
import type { Model } from '../../model/load.js';
import { roundToBfloat16 } from '../../tensor/dtype.js';
import { flat, zerosLike } from '../../tensor/tensor.js';
import { branches, type Change, layers } from './change.js';
import { type Mutant, when } from './mutant.js';

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
      when(!isParallel(model) && !someBranch(model, ({ sumNorm, addsToNormed }) => sumNorm !== null || addsToNormed), {
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
      when(
        someBranch(model, ({ scale }) => scale !== 1),
        { parts: branches((branch) => ({ ...branch, scale: 1 })) },
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
      when(
        !isParallel(model) && someBranch(model, ({ inputNorm, addsToNormed }) => inputNorm !== null && !addsToNormed),
        {
          parts: branches((branch) => ({ ...branch, addsToNormed: branch.inputNorm !== null })),
        },
      ),
  },
  {
    name: 'attention-residual-missing',
    group: 'residual stream',
    mistake: 'what attention makes takes the place of x, and is not added to it',
    symptom: 'every row is garbage from the first layer on',
    fix: 'x = x + attention(norm x)',
    variants: (model) =>
      when(!isParallel(model) && !someBranch(model, ({ sumNorm, addsToNormed }) => sumNorm !== null || addsToNormed), {
        splice: () => {
          let [before, residual] = [null as ReturnType<typeof zerosLike> | null, null as ReturnType<typeof zerosLike> | null]; // biome-ignore format: one thought
          return (point, value) => {
            if (point === 'embeddings' || point.endsWith('.output')) {
              const isLayers = point === 'embeddings' || /^layers\.\d+\.output$/.test(point);
              if (isLayers) {
                before = zerosLike(value, value.shape);
                before.data.set(flat(value));
              }
              return value;
            }
            if (!point.endsWith('.attention.residual') || !before) return value;
            residual = zerosLike(value, value.shape);
            const [own, x] = [flat(value), flat(before)];
            for (let i = 0; i < own.length; i++) residual.data[i] = own[i]! - x[i]!;
            return residual;
          };
        },
      }),
  },
  {
    name: 'residual-in-half',
    group: 'narrow precision',
    mistake: 'the residual stream is kept in bfloat16',
    symptom: 'errors of some thousandths, which grow from layer to layer',
    fix: 'keep it in float32, or compare with --emulate bfloat16 if that is meant',
    variants: () => [
      {
        label: '',
        splice: () => (point, value) => {
          if (!/(^embeddings|^layers\.\d+\.(attention\.residual|output))$/.test(point)) return value;
          const own = zerosLike(value, value.shape);
          flat(value).forEach((x, i) => {
            own.data[i] = roundToBfloat16(x);
          });
          return own;
        },
      },
    ],
  },
];
