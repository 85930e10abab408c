/** Changes of all norms of a model at once. */
import type { NormConfig, NormWeights } from '../../math/norm.js';
import type { BranchConfig } from '../../model/config.js';
import type { BranchWeights } from '../../model/weights.js';
import { branches, type Change, layers, weightsOfLayers } from './change.js';

/** The norms around parts, and the final one; not those of queries, keys and latents, nor that of the embedding. */
export const norms = (change: (norm: NormConfig) => NormConfig): Change => {
  const each = (norm: NormConfig | null) => norm && change(norm);
  const ofBranches = branches((branch) => ({
    ...branch,
    inputNorm: each(branch.inputNorm),
    outputNorm: each(branch.outputNorm),
    sumNorm: each(branch.sumNorm),
  }));
  return (parts) => {
    const { config, weights } = ofBranches(parts);
    return { config: { ...config, finalNorm: each(config.finalNorm) }, weights };
  };
};

/** Norms of queries and keys, or of latents. */
export const innerNorms = (change: (norm: NormConfig) => NormConfig): Change =>
  layers((layer) => {
    const { attention } = layer;
    if (attention.kind === 'latent') return { ...layer, attention: { ...attention, norm: change(attention.norm) } };
    const { qkNorm } = attention;
    return { ...layer, attention: { ...attention, qkNorm: qkNorm && { ...qkNorm, norm: change(qkNorm.norm) } } };
  });

/** Weights of `norms`. @param change is given the config of the norm */
export const normWeights = (change: NormWeightsChange): Change => {
  const ofBranch = (own: BranchWeights, branch: BranchConfig): BranchWeights => ({
    input: changedNorm(change, own.input, branch.inputNorm),
    output: changedNorm(change, own.output, branch.outputNorm),
    sum: changedNorm(change, own.sum, branch.sumNorm),
  });
  return ({ config, weights }) => ({
    config,
    weights: {
      ...weights,
      finalNorm: changedNorm(change, weights.finalNorm, config.finalNorm),
      layers: weights.layers.map((own, i) => ({
        ...own,
        attentionNorms: ofBranch(own.attentionNorms, config.layers[i]!.attentionBranch),
        feedForwardNorms: ofBranch(own.feedForwardNorms, config.layers[i]!.feedForwardBranch),
      })),
    },
  });
};

/** Weights of `innerNorms`. */
export const innerNormWeights = (change: NormWeightsChange): Change =>
  weightsOfLayers((own, { attention: config }) => {
    const { attention } = own;
    if (attention.kind === 'grouped' && config.kind === 'grouped') {
      const norm = config.qkNorm?.norm ?? null;
      const [queryNorm, keyNorm] = [attention.queryNorm, attention.keyNorm].map((one) =>
        changedNorm(change, one, norm),
      );
      return { ...own, attention: { ...attention, queryNorm: queryNorm!, keyNorm: keyNorm! } };
    }
    if (attention.kind !== 'latent' || config.kind !== 'latent') return own;
    const query =
      'weight' in attention.query
        ? attention.query
        : { ...attention.query, norm: change(attention.query.norm, config.norm) };
    return { ...own, attention: { ...attention, query, latentNorm: change(attention.latentNorm, config.norm) } };
  });

type NormWeightsChange = (own: NormWeights, norm: NormConfig) => NormWeights;

function changedNorm(change: NormWeightsChange, own: NormWeights | null, norm: NormConfig | null): NormWeights | null {
  return own && norm ? change(own, norm) : own;
}
