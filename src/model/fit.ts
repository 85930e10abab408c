/** The config decides what a model has; its weights must have it too. */
import { UsageError } from '../errors.js';
import type { BranchConfig, LayerConfig, ModelConfig } from './config.js';
import type { BranchWeights, LayerWeights, ModelWeights } from './weights.js';

/** What it is, whether the config has it, and its weights. */
type Part = readonly [what: string, has: unknown, weights: unknown];

/**
 * Weights that a config has no use for are left alone.
 * @throws UsageError naming the first part that the config has, and the weights have not
 */
export function expectFit(config: ModelConfig, weights: ModelWeights): void {
  if (config.layers.length !== weights.layers.length) {
    throw new UsageError(
      `The config has ${config.layers.length} layers, and there are weights of ${weights.layers.length}.`,
    );
  }
  const { embedding, finalNorm, layers } = config;
  const projected = embedding.width !== config.width;
  const parts: readonly Part[] = [
    ['embedding.positions', embedding.positions, weights.embedding.positions],
    ['embedding.norm', embedding.norm, weights.embedding.norm],
    ['embedding.width', projected, weights.embedding.projectIn && weights.head.projectOut],
    ['finalNorm', finalNorm, weights.finalNorm],
    ...layers.flatMap((layer, i) => partsOf(`layers[${i}]`, layer, weights.layers[i]!)),
  ];
  const missing = parts.find(([, has, own]) => has && !own);
  if (missing) throw new UsageError(`The config has ${missing[0]}, and there are no weights for it.`);
}

function partsOf(name: string, layer: LayerConfig, own: LayerWeights): readonly Part[] {
  const { attention, feedForward } = layer;
  const grouped = attention.kind === 'grouped' && own.attention.kind === 'grouped' ? own.attention : null;
  const experts = feedForward.kind === 'experts' && own.feedForward.kind === 'experts' ? own.feedForward : null;
  return [
    [`${name}.attention`, true, attention.kind === own.attention.kind],
    [`${name}.feedForward`, true, feedForward.kind === own.feedForward.kind],
    ...branchParts(`${name}.attentionBranch`, layer.attentionBranch, own.attentionNorms),
    ...branchParts(`${name}.feedForwardBranch`, layer.feedForwardBranch, own.feedForwardNorms),
    [
      `${name}.attention.qkNorm`,
      grouped && 'qkNorm' in attention && attention.qkNorm,
      grouped?.queryNorm && grouped.keyNorm,
    ],
    [`${name}.attention.sinks`, grouped && 'sinks' in attention && attention.sinks, grouped?.sinks],
    [`${name}.feedForward.shared`, experts && 'shared' in feedForward && feedForward.shared, experts?.shared],
    [
      `${name}.feedForward.shared.gate`,
      experts && 'shared' in feedForward && feedForward.shared?.gate,
      experts?.shared?.gate,
    ],
  ];
}

function branchParts(
  name: string,
  { inputNorm, outputNorm, sumNorm }: BranchConfig,
  own: BranchWeights,
): readonly Part[] {
  return [
    [`${name}.inputNorm`, inputNorm, own.input],
    [`${name}.outputNorm`, outputNorm, own.output],
    [`${name}.sumNorm`, sumNorm, own.sum],
  ];
}
