/** A model without one of its features, made from outside: of its config and its weights. */
import type { Rope } from '../../src/math/rope.js';
import type { BranchConfig, LayerConfig } from '../../src/model/config.js';
import type { LayerWeights } from '../../src/model/weights.js';
import {
  branches,
  type Change,
  dense,
  denseWeights,
  embedding,
  experts,
  expertsWeights,
  grouped,
  head,
  headWeights,
  layers,
  rope,
  router,
  weightsOfLayers,
} from '../../src/reference/mutants/change.js';
import { bare, swapped } from '../../src/reference/mutants/feed-forward.js';

/** Frequencies that fall by one ratio from 1, the same as between the first two; one alone has that of theta = 10,000. */
const geometric = ({ frequencies }: Rope, count = frequencies.length, exponent = 1) =>
  Array.from({ length: count }, (_, i) => ((frequencies[1] ?? 1e-4) / frequencies[0]!) ** (i * exponent));

/** By the name of the feature (src/reference/features). A string: why it cannot be left out so. */
export const WITHOUT: Readonly<Record<string, Change | string>> = {
  MHA: 'the shape of the weights',
  GQA: 'the shape of the weights',
  MQA: 'the shape of the weights',
  MLA: 'the shape of the weights',
  'embedding factor': embedding({ scale: 1 }),
  'embedding projected': 'the shape of the weights',
  'embedding norm': embedding({ norm: null }),
  'learned positions': embedding({ positions: null }),
  rope: rope((of) => ({ ...of, frequencies: of.frequencies.map(() => 0) })),
  'rope on a part': rope((of, { attention }) => {
    const dim = attention.kind === 'latent' ? attention.ropeDim : attention.headDim;
    return { ...of, dim, frequencies: geometric(of, dim / 2, of.dim / dim) };
  }),
  'rope interleaved': rope((of) => ({ ...of, pairs: 'half-split' })),
  'rope scaled': rope((of) => ({ ...of, frequencies: geometric(of) })),
  'rope magnitude': rope((of) => ({ ...of, magnitude: 1 })),
  'rope by length': 'loaded for another length (test/model/rope-length.test.ts)',
  'ropes by layer': layers((layer, _, all) => {
    const first = all.find(({ attention }) => attention.rope)!.attention.rope;
    return { ...layer, attention: { ...layer.attention, rope: first } as LayerConfig['attention'] };
  }),
  ALiBi: grouped((attention) => ({ ...attention, alibi: null })),
  'ALiBi in bfloat16': grouped((attention) => ({
    ...attention,
    alibi: attention.alibi && { ...attention.alibi, form: 'distance' },
  })),
  'NoPE layers': layers((layer, _, all) => {
    const first = all.find(({ attention }) => attention.rope)!.attention.rope;
    return { ...layer, attention: { ...layer.attention, rope: layer.attention.rope ?? first } as never };
  }),
  window: layers((layer) => ({
    ...layer,
    visibility: layer.visibility.kind === 'sliding' ? { kind: 'causal' } : layer.visibility,
  })),
  chunks: layers((layer) => ({
    ...layer,
    visibility: layer.visibility.kind === 'chunked' ? { kind: 'causal' } : layer.visibility,
  })),
  'windows by layer': layers((layer, _, all) => ({ ...layer, visibility: all[0]!.visibility })),
  'qk norm': grouped((attention) => ({ ...attention, qkNorm: null })),
  'score factor': layers((layer) => {
    const { attention } = layer;
    const dim = attention.kind === 'latent' ? attention.nopeDim + attention.ropeDim : attention.headDim;
    return { ...layer, attention: { ...attention, scale: 1 / Math.sqrt(dim) } };
  }),
  'score softcap': grouped((attention) => ({ ...attention, softcap: null })),
  'qkv clip': grouped((attention) => ({ ...attention, clip: null })),
  temperature: grouped((attention) => ({ ...attention, temperature: null })),
  'learned sinks': grouped((attention) => ({ ...attention, sinks: false })),
  'attention biases': weightsOfLayers((own) => {
    if (own.attention.kind === 'latent') {
      const { compress, output } = own.attention;
      const attention = { ...own.attention, compress: { ...compress, bias: null }, output: { ...output, bias: null } };
      return { ...own, attention };
    }
    const { query, key, value, output } = own.attention;
    const bare = Object.entries({ query, key, value, output }).map(([name, part]) => [name, { ...part, bias: null }]);
    return { ...own, attention: { ...own.attention, ...Object.fromEntries(bare) } };
  }),
  'feed-forward biases': denseWeights(bare),
  'feed-forward plain': dense((config) => ({ ...config, activation: config.activation === 'silu' ? 'relu' : 'silu' })),
  'feed-forward gated': denseWeights(swapped),
  'clamped gate': dense((config) => (config.kind === 'gated' ? { ...config, clamp: null } : config)),
  experts: experts((config) => ({ ...config, perToken: config.perToken > 1 ? config.perToken - 1 : 2 })),
  'shared expert': experts((config) => ({ ...config, shared: null })),
  'shared expert gate': experts((config) => ({
    ...config,
    shared: config.shared && { ...config.shared, gate: false },
  })),
  'dense layers among experts': 'the shape of the weights',
  'router bias': expertsWeights((own) => ({ ...own, router: { ...own.router, bias: null } })),
  'routing by group': router({ groups: 1, groupsPerToken: 1 }),
  'routing factor': router({ scale: 1 }),
  'routing normalised': router({ normalise: false }),
  'routing correction': expertsWeights((own) => ({ ...own, correction: null })),
  'routed inputs': experts((config) => ({ ...config, weighs: 'output' })),
  'RMS norm': norms('rms', 'layer'),
  'layer norm': norms('layer', 'rms'),
  'norm weights less 1': ({ config, weights }) => ({
    config,
    weights: {
      ...weights,
      layers: weights.layers.map((own) => ({
        ...own,
        attentionNorms: lessOne(own.attentionNorms),
        feedForwardNorms: lessOne(own.feedForwardNorms),
      })),
    },
  }),
  'norm biases': ({ config, weights }) => ({
    config,
    weights: {
      ...weights,
      layers: weights.layers.map((own) => ({
        ...own,
        attentionNorms: withoutBias(own.attentionNorms),
        feedForwardNorms: withoutBias(own.feedForwardNorms),
      })),
    },
  }),
  // Of attention alone: without any, some models run away to infinity.
  'norm after': layers((layer) => ({ ...layer, attentionBranch: { ...layer.attentionBranch, outputNorm: null } })),
  'norm of sums': branches((branch) => ({ ...branch, sumNorm: null })),
  'residual of the norm': branches((branch) => ({ ...branch, addsToNormed: false })),
  'residual factor': branches((branch) => ({ ...branch, scale: 1 })),
  parallel: ({ config, weights }) => ({
    config: {
      ...config,
      layers: config.layers.map((layer) => ({ ...layer, parallel: null, feedForwardBranch: layer.attentionBranch })),
    },
    weights: {
      ...weights,
      layers: weights.layers.map((own, i) =>
        config.layers[i]!.parallel === 'one-norm' ? { ...own, feedForwardNorms: own.attentionNorms } : own,
      ),
    },
  }),
  'logit factor': head({ scale: 1 }),
  'logit softcap': head({ softcap: null }),
  'head bias': headWeights((output) => ({ ...output, bias: null })),
  'tied head': 'the shape of the weights',
};

type Branch = LayerWeights['attentionNorms'];
type Norm = Branch['input'];

function everyNorm(branch: Branch, change: (norm: NonNullable<Norm>) => NonNullable<Norm>): Branch {
  const each = (norm: Norm) => norm && change(norm);
  return { input: each(branch.input), output: each(branch.output), sum: each(branch.sum) };
}

function lessOne(branch: Branch): Branch {
  return everyNorm(branch, (norm) => ({ ...norm, weight: norm.weight?.map((x) => x - 1) ?? null }));
}

function withoutBias(branch: Branch): Branch {
  return everyNorm(branch, (norm) => ({ ...norm, bias: null }));
}

function norms(from: 'rms' | 'layer', to: 'rms' | 'layer'): Change {
  const other = (norm: BranchConfig['inputNorm']) => (norm?.kind === from ? { ...norm, kind: to } : norm);
  const branch = (of: BranchConfig): BranchConfig => ({
    ...of,
    inputNorm: other(of.inputNorm),
    outputNorm: other(of.outputNorm),
    sumNorm: other(of.sumNorm),
  });
  return layers((layer) => ({
    ...layer,
    attentionBranch: branch(layer.attentionBranch),
    feedForwardBranch: branch(layer.feedForwardBranch),
  }));
}
