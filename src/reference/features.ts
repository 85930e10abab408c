/** What a model has, by name: for the person who ports it, and for the table of what is supported. */
import type { GroupedConfig } from '../../attention/strategy/strategy.js';
import type { NormConfig } from '../math/norm.js';
import type { Rope } from '../math/rope.js';
import type {
  BranchConfig,
  DenseConfig,
  ExpertsConfig,
  FeedForwardConfig,
  LayerConfig,
  ModelConfig,
} from '../model/config.js';

/** Columns of the table. */
export const FEATURE_GROUPS = [
  'heads',
  'positions',
  'what is seen',
  'scores',
  'feed-forward',
  'norms',
  'residual stream',
  'biases',
  'embedding and output',
] as const;

type FeatureGroup = (typeof FEATURE_GROUPS)[number];

export interface Feature {
  /** Short, for a table. */
  readonly name: string;
  readonly group: FeatureGroup;
  /** What a port is likely to trip over; null: nothing, most models have it, or another sentence says it. */
  readonly note: ((config: ModelConfig) => string) | null;
  readonly has: (config: ModelConfig) => boolean;
}

const someLayer =
  (has: (layer: LayerConfig) => boolean) =>
  ({ layers }: ModelConfig) =>
    layers.some(has);
const someGrouped = (has: (attention: GroupedConfig) => unknown) =>
  someLayer(({ attention }) => attention.kind === 'grouped' && Boolean(has(attention)));
const someRope = (has: (rope: Rope, layer: LayerConfig) => unknown) =>
  someLayer((layer) => layer.attention.rope !== null && Boolean(has(layer.attention.rope, layer)));
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

const rotatesAll = (rope: Rope, { attention }: LayerConfig) =>
  rope.dim === (attention.kind === 'latent' ? attention.ropeDim : attention.headDim);

/** Unscaled frequencies fall by one ratio from 1. */
const isGeometric = ({ frequencies }: Rope) => {
  const ratio = frequencies[1] ?? 1;
  return frequencies.every((frequency, i) => Math.abs(frequency / ratio ** i - 1) < 1e-9);
};

const heads = (has: (queryHeads: number, keyValueHeads: number) => boolean) =>
  someGrouped(({ queryHeads, keyValueHeads }) => has(queryHeads, keyValueHeads));
const names = (of: (layer: LayerConfig) => string, { layers }: ModelConfig) => [...new Set(layers.map(of))].join(', ');
const firstGrouped = ({ layers }: ModelConfig, has: (attention: GroupedConfig) => unknown): GroupedConfig =>
  layers.map(({ attention }) => attention).find((one) => one.kind === 'grouped' && has(one)) as GroupedConfig;

/** In the order of the data's way through a model. */
export const FEATURES: readonly Feature[] = [
  { name: 'MHA', group: 'heads', note: null, has: heads((H, G) => H === G) },
  { name: 'GQA', group: 'heads', note: null, has: heads((H, G) => H !== G && G > 1) },
  { name: 'MQA', group: 'heads', note: null, has: heads((H, G) => H !== G && G === 1) },
  { name: 'MLA', group: 'heads', note: null, has: someLayer(({ attention }) => attention.kind === 'latent') },
  {
    name: 'embedding factor',
    group: 'embedding and output',
    note: ({ embedding }) => `embedded tokens are multiplied by ${embedding.scale}`,
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
    name: 'learned positions',
    group: 'positions',
    note: ({ embedding: { positions } }) =>
      `positions are learned: ${positions!.count} of them${positions!.first > 0 ? `, the first in row ${positions!.first}` : ''}`,
    has: ({ embedding }) => embedding.positions !== null,
  },
  { name: 'rope', group: 'positions', note: null, has: someRope(() => true) },
  {
    name: 'rope on a part',
    group: 'positions',
    note: ({ layers }) =>
      `rope rotates the first ${layers.find(({ attention }) => attention.rope)!.attention.rope!.dim} values of a head`,
    has: someRope((rope, layer) => !rotatesAll(rope, layer)),
  },
  {
    name: 'rope interleaved',
    group: 'positions',
    note: () => 'rope rotates neighbouring values, not the two halves',
    has: someRope(({ pairs }) => pairs === 'interleaved'),
  },
  {
    name: 'rope scaled',
    group: 'positions',
    note: () => 'the rope frequencies are scaled for a longer context',
    has: someRope((rope) => !isGeometric(rope)),
  },
  {
    name: 'rope magnitude',
    group: 'positions',
    note: (config) =>
      `rope scales cos and sin by ${config.layers.find(({ attention }) => attention.rope)!.attention.rope!.magnitude}`,
    has: someRope(({ magnitude }) => magnitude !== 1),
  },
  {
    name: 'rope by length',
    group: 'positions',
    note: ({ ropeLength }) =>
      `the rope depends on the length of the sequence; this is the one for ${ropeLength} tokens`,
    has: ({ ropeLength }) => ropeLength !== null,
  },
  {
    name: 'ropes by layer',
    group: 'positions',
    note: () => 'layers differ in their rope',
    has: ({ layers }) => new Set(layers.map(({ attention }) => attention.rope).filter(Boolean)).size > 1,
  },
  {
    name: 'ALiBi',
    group: 'positions',
    note: () => 'scores fall with the distance of their keys (ALiBi), and there is no rope',
    has: someGrouped(({ alibi }) => alibi),
  },
  {
    name: 'ALiBi in bfloat16',
    group: 'positions',
    note: () => 'ALiBi is rounded to bfloat16, so that keys far from position 0 tie',
    has: someGrouped(({ alibi }) => alibi?.form === 'bfloat16'),
  },
  {
    name: 'NoPE layers',
    group: 'positions',
    note: () => 'some layers have no rope',
    has: (config) => someRope(() => true)(config) && config.layers.some(({ attention }) => attention.rope === null),
  },
  {
    name: 'window',
    group: 'what is seen',
    note: (config) => `a window counts the current token (${names(visibilityText, config)})`,
    has: someLayer(({ visibility }) => visibility.kind === 'sliding'),
  },
  {
    name: 'chunks',
    group: 'what is seen',
    note: () => 'some layers see their own chunk of positions alone',
    has: someLayer(({ visibility }) => visibility.kind === 'chunked'),
  },
  {
    name: 'windows by layer',
    group: 'what is seen',
    note: () => 'layers differ in what they see',
    has: (config) => new Set(config.layers.map(visibilityText)).size > 1,
  },
  {
    name: 'qk norm',
    group: 'scores',
    note: (config) => {
      const { norm, scope, place } = firstGrouped(config, (one) => one.qkNorm).qkNorm!;
      const of = {
        head: 'each head',
        'each-head': 'each head, with weights of its own',
        'heads-together': 'all heads as one row',
      };
      return `queries and keys are normed (${norm.kind}, ${of[scope]}, ${place === 'before-rope' ? 'before' : 'after'} rope)`;
    },
    has: someGrouped(({ qkNorm }) => qkNorm),
  },
  {
    name: 'score factor',
    group: 'scores',
    note: (config) =>
      `scores are multiplied by ${names(({ attention }) => `${attention.scale}`, config)}, not by 1 / sqrt(head dim)`,
    has: someLayer(({ attention }) => {
      const dim = attention.kind === 'latent' ? attention.nopeDim + attention.ropeDim : attention.headDim;
      return Math.abs(attention.scale * Math.sqrt(dim) - 1) > 1e-9;
    }),
  },
  {
    name: 'score softcap',
    group: 'scores',
    note: (config) => `scores are capped at ${firstGrouped(config, (one) => one.softcap).softcap} by a tanh`,
    has: someGrouped(({ softcap }) => softcap !== null),
  },
  {
    name: 'qkv clip',
    group: 'scores',
    note: (config) => `queries, keys and values are clipped to ${firstGrouped(config, (one) => one.clip).clip}`,
    has: someGrouped(({ clip }) => clip !== null),
  },
  {
    name: 'temperature',
    group: 'scores',
    note: () => 'queries grow with their position in layers without rope',
    has: someGrouped(({ temperature }) => temperature),
  },
  {
    name: 'learned sinks',
    group: 'scores',
    note: () => 'each query head has a learned sink, a logit that takes its part of the softmax and weighs nothing',
    has: someGrouped(({ sinks }) => sinks),
  },
  {
    name: 'attention biases',
    group: 'biases',
    note: (config) => `the attention projections have biases (${names(biasText, config)})`,
    has: someLayer(({ attentionBias }) => attentionBias.qkv || attentionBias.output),
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
  { name: 'experts', group: 'feed-forward', note: null, has: someExperts(() => true) },
  { name: 'shared expert', group: 'feed-forward', note: null, has: someExperts(({ shared }) => shared) },
  {
    name: 'shared expert gate',
    group: 'feed-forward',
    note: () => 'the shared expert is multiplied by the sigmoid of a projection of its own',
    has: someExperts(({ sharedGate }) => sharedGate),
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
    note: () => 'norms store their weights less 1',
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
    note: ({ layers }) => `what a part makes is multiplied by ${layers[0]!.attentionBranch.scale} before it is added`,
    has: someBranch(({ scale }) => scale !== 1),
  },
  {
    name: 'parallel',
    group: 'residual stream',
    note: ({ layers }) =>
      `attention and feed-forward both begin at the layer's input${layers.some(({ sharedNorm }) => sharedNorm) ? ', and share its norm' : ''}`,
    has: someLayer(({ parallel }) => parallel),
  },
  {
    name: 'logit factor',
    group: 'embedding and output',
    note: ({ head }) => `logits are multiplied by ${head.scale}`,
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

function visibilityText({ visibility }: LayerConfig): string {
  if (visibility.kind === 'sliding') return `sliding ${visibility.window}`;
  return visibility.kind === 'chunked' ? `chunked ${visibility.chunk}` : visibility.kind;
}

function biasText({ attentionBias: { qkv, output } }: LayerConfig): string {
  return [qkv ? 'queries, keys and values' : '', output ? 'output' : ''].filter(Boolean).join(' and ') || 'none';
}

function routerFactor({ layers }: ModelConfig): number {
  const factors = layers.map(({ feedForward }) =>
    feedForward.kind === 'experts' && 'scale' in feedForward.router ? feedForward.router.scale : 1,
  );
  return factors.find((factor) => factor !== 1) ?? 1;
}

/** The norms around a model's parts. */
function normsOf({ layers, finalNorm }: ModelConfig): NormConfig[] {
  const all = layers.flatMap(({ attentionBranch, feedForwardBranch }) =>
    [attentionBranch, feedForwardBranch].flatMap(({ inputNorm, outputNorm, sumNorm }) => [
      inputNorm,
      outputNorm,
      sumNorm,
    ]),
  );
  return [...all, finalNorm].filter((norm) => norm !== null);
}
