/** Features of all but attention. */
import type { NormConfig } from '../../math/norm.js';
import type {
  BranchConfig,
  DenseConfig,
  ExpertsConfig,
  FeedForwardConfig,
  LayerConfig,
  ModelConfig,
} from '../../model/config.js';
import { type Feature, said, short, someLayer } from './feature.js';

const someBranch = (has: (branch: BranchConfig) => unknown) =>
  someLayer(({ attentionBranch, feedForwardBranch }) => Boolean(has(attentionBranch) || has(feedForwardBranch)));

const someExperts = (has: (experts: ExpertsConfig) => unknown) =>
  someLayer(({ feedForward }) => feedForward.kind === 'experts' && Boolean(has(feedForward)));

const someDense = (has: (dense: DenseConfig) => unknown) =>
  someLayer(({ feedForward }) => Boolean(has(denseOf(feedForward))));

/** The layer itself, or one of its experts. */
export function denseOf(config: FeedForwardConfig): DenseConfig {
  return config.kind === 'experts' ? config.expert : config;
}

export const PART_FEATURES: readonly Feature[] = [
  {
    name: 'embedding factor',
    group: 'embedding and output',
    note: ({ embedding }) => `embedded tokens are multiplied by ${short(embedding.scale)}`,
    has: ({ embedding }) => embedding.scale !== 1,
  },
  {
    name: 'embedding projected',
    group: 'embedding and output',
    note: ({ embedding, width }) => `tokens are embedded in ${embedding.width} values and projected to ${width}`,
    has: ({ embedding, width }) => embedding.width !== width,
  },
  {
    name: 'embedding norm',
    group: 'embedding and output',
    note: () => 'a norm stands after the embedding',
    has: ({ embedding }) => embedding.norm !== null,
  },
  {
    name: 'feed-forward biases',
    group: 'biases',
    note: () => 'the feed-forward layers have biases',
    has: someDense(({ bias }) => bias),
  },
  { name: 'feed-forward plain', group: 'feed-forward', note: null, has: someDense(({ kind }) => kind === 'plain') },
  { name: 'feed-forward gated', group: 'feed-forward', note: null, has: someDense(({ kind }) => kind === 'gated') },
  {
    name: 'clamped gate',
    group: 'feed-forward',
    note: () => 'gate and up are clamped, and up is raised by one',
    has: someDense((dense) => dense.kind === 'gated' && dense.clamp),
  },
  {
    name: 'experts',
    group: 'feed-forward',
    note: (config) => `experts are weighed by ${said(weighingText, config.layers.filter(hasExperts))}`,
    has: someExperts(() => true),
  },
  { name: 'shared expert', group: 'feed-forward', note: null, has: someExperts(({ shared }) => shared) },
  {
    name: 'shared expert gate',
    group: 'feed-forward',
    note: () => 'the shared expert is multiplied by the sigmoid of a projection of its own',
    has: someExperts(({ shared }) => shared?.gate),
  },
  {
    name: 'dense layers among experts',
    group: 'feed-forward',
    note: () => 'some layers have experts, others have not',
    has: (config) =>
      someExperts(() => true)(config) && config.layers.some(({ feedForward }) => feedForward.kind !== 'experts'),
  },
  {
    name: 'routing by group',
    group: 'feed-forward',
    note: () => 'the router first chooses groups of experts',
    has: someExperts(({ router }) => 'groups' in router && router.groups > 1),
  },
  {
    name: 'router bias',
    group: 'feed-forward',
    note: () => 'the router has a bias',
    has: someExperts(({ routerBias }) => routerBias),
  },
  {
    name: 'routing normalised',
    group: 'feed-forward',
    note: null,
    has: someExperts(({ router }) => 'normalise' in router && router.normalise),
  },
  {
    name: 'routing factor',
    group: 'feed-forward',
    note: (config) => `the weights of experts are multiplied by ${routerFactor(config)}`,
    has: (config) => routerFactor(config) !== 1,
  },
  {
    name: 'routing correction',
    group: 'feed-forward',
    note: () =>
      'a correction that is learned apart decides with the scores which experts are chosen, and weighs nothing',
    has: someExperts(({ router }) => router.kind === 'grouped-sigmoid'),
  },
  {
    name: 'routed inputs',
    group: 'feed-forward',
    note: () => "the router's weights multiply the inputs of experts, not their outputs",
    has: someExperts(({ weighs }) => weighs === 'input'),
  },
  {
    name: 'RMS norm',
    group: 'norms',
    note: null,
    has: (config) => normsOf(config).some(({ kind }) => kind === 'rms'),
  },
  {
    name: 'layer norm',
    group: 'norms',
    note: null,
    has: (config) => normsOf(config).some(({ kind }) => kind === 'layer'),
  },
  {
    name: 'norm weights less 1',
    group: 'norms',
    note: () => 'norms multiply by 1 + the stored weight',
    has: (config) => normsOf(config).some(({ weightOffset }) => weightOffset === 1),
  },
  {
    name: 'norm biases',
    group: 'norms',
    note: null,
    has: (config) => normsOf(config).some(({ bias }) => bias),
  },
  {
    name: 'norm after',
    group: 'norms',
    note: () => 'what a part makes is normed before it is added',
    has: someBranch(({ outputNorm }) => outputNorm),
  },
  {
    name: 'norm of sums',
    group: 'norms',
    note: () => 'norms stand after each sum (post-norm)',
    has: someBranch(({ sumNorm }) => sumNorm),
  },
  {
    name: 'residual of the norm',
    group: 'residual stream',
    note: () => 'a part is added to its normed input',
    has: someBranch(({ addsToNormed }) => addsToNormed),
  },
  {
    name: 'residual factor',
    group: 'residual stream',
    note: ({ layers }) =>
      `what a part makes is multiplied by ${short(layers[0]!.attentionBranch.scale)} before it is added`,
    has: someBranch(({ scale }) => scale !== 1),
  },
  {
    name: 'parallel',
    group: 'residual stream',
    note: ({ layers }) =>
      `attention and feed-forward both begin at the layer's input${layers.some(({ parallel }) => parallel === 'one-norm') ? ', and share its norm' : ''}`,
    has: someLayer(({ parallel }) => parallel !== null),
  },
  {
    name: 'logit factor',
    group: 'embedding and output',
    note: ({ head }) => `logits are multiplied by ${short(head.scale)}`,
    has: ({ head }) => head.scale !== 1,
  },
  {
    name: 'logit softcap',
    group: 'embedding and output',
    note: ({ head }) => `logits are capped at ${head.softcap} by a tanh`,
    has: ({ head }) => head.softcap !== null,
  },
  {
    name: 'head bias',
    group: 'embedding and output',
    note: () => 'the output head has a bias',
    has: ({ head }) => head.bias,
  },
  { name: 'tied head', group: 'embedding and output', note: null, has: ({ head }) => head.tied },
];

function routerFactor({ layers }: ModelConfig): number {
  const factors = layers.map(({ feedForward }) =>
    feedForward.kind === 'experts' && 'scale' in feedForward.router ? feedForward.router.scale : 1,
  );
  return factors.find((factor) => factor !== 1) ?? 1;
}

/** The norms around a model's parts. */
export function normsOf({ layers, finalNorm }: ModelConfig): NormConfig[] {
  const all = layers.flatMap(({ attentionBranch, feedForwardBranch }) =>
    [attentionBranch, feedForwardBranch].flatMap(({ inputNorm, outputNorm, sumNorm }) => [
      inputNorm,
      outputNorm,
      sumNorm,
    ]),
  );
  return [...all, finalNorm].filter((norm) => norm !== null);
}

function hasExperts({ feedForward }: LayerConfig): boolean {
  return feedForward.kind === 'experts';
}

function weighingText({ feedForward }: LayerConfig): string {
  const { router } = feedForward as ExpertsConfig;
  switch (router.kind) {
    case 'top-k-softmax':
      return 'the softmax of those chosen';
    case 'top-k-sigmoid':
      return 'the sigmoid of each';
    case 'softmax-top-k':
      return `the softmax over all${router.normalise ? ', divided by the sum of those chosen' : ''}`;
    case 'grouped-sigmoid':
      return `the sigmoid of each${router.normalise ? ', divided by their sum' : ''}`;
  }
}
