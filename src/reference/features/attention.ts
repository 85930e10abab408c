/** Features of attention. */
import type { GroupedConfig } from '../../../attention/strategy/strategy.js';
import type { Rope } from '../../math/rope.js';
import type { LayerConfig, ModelConfig } from '../../model/config.js';
import { type Feature, said, short, someGrouped, someLayer } from './feature.js';

const someRope = (has: (rope: Rope, layer: LayerConfig) => unknown) =>
  someLayer((layer) => layer.attention.rope !== null && Boolean(has(layer.attention.rope, layer)));

const rotatesAll = (rope: Rope, { attention }: LayerConfig) =>
  rope.dim === (attention.kind === 'latent' ? attention.ropeDim : attention.headDim);

/** Unscaled frequencies fall by one ratio from 1. */
const isGeometric = ({ frequencies }: Rope) => {
  const ratio = frequencies[1] ?? 1;
  return frequencies.every((frequency, i) => Math.abs(frequency / ratio ** i - 1) < 1e-9);
};

const heads = (has: (queryHeads: number, keyValueHeads: number) => boolean) =>
  someGrouped(({ queryHeads, keyValueHeads }) => has(queryHeads, keyValueHeads));

const firstGrouped = ({ layers }: ModelConfig, has: (attention: GroupedConfig) => unknown): GroupedConfig =>
  layers.map(({ attention }) => attention).find((one) => one.kind === 'grouped' && has(one)) as GroupedConfig;

const firstRope = ({ layers }: ModelConfig) => layers.find(({ attention }) => attention.rope)!.attention.rope!;

export const ATTENTION_FEATURES: readonly Feature[] = [
  { name: 'MHA', group: 'heads', note: null, has: heads((H, G) => H === G) },
  { name: 'GQA', group: 'heads', note: null, has: heads((H, G) => H !== G && G > 1) },
  { name: 'MQA', group: 'heads', note: null, has: heads((H, G) => H !== G && G === 1) },
  { name: 'MLA', group: 'heads', note: null, has: someLayer(({ attention }) => attention.kind === 'latent') },
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
    note: (config) => `rope rotates the first ${firstRope(config).dim} values of a head`,
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
    note: (config) => `rope scales cos and sin by ${short(firstRope(config).magnitude)}`,
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
    has: ({ layers }) =>
      new Set(layers.flatMap(({ attention: { rope } }) => (rope ? [JSON.stringify(rope)] : []))).size > 1,
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
    note: () => 'ALiBi is rounded to bfloat16, so that keys beside each other tie far from position 0',
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
    note: ({ layers }) => `a window counts the current token (${said(visibilityText, layers.filter(isSliding))})`,
    has: someLayer(isSliding),
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
      `scores are multiplied by ${said(({ attention }) => short(attention.scale), config.layers)}, not by 1 / sqrt(head dim)`,
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
    note: (config) => `the attention projections have biases (${said(biasText, config.layers)})`,
    has: someLayer(({ attentionBias }) => attentionBias.qkv || attentionBias.output),
  },
];

function isSliding({ visibility }: LayerConfig): boolean {
  return visibility.kind === 'sliding';
}

function visibilityText({ visibility }: LayerConfig): string {
  if (visibility.kind === 'sliding') return `sliding ${visibility.window}`;
  return visibility.kind === 'chunked' ? `chunked ${visibility.chunk}` : visibility.kind;
}

function biasText({ attentionBias: { qkv, output } }: LayerConfig): string {
  if (qkv && output) return 'all of them';
  return qkv ? 'queries, keys and values' : output ? 'the output' : 'none';
}
