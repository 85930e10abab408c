/** The choices a run makes, by name -> the parts that each layer's attention is made of. */

import type { KvCache, KvDtype } from '../../attention/cache/cache.js';
import { CACHES, type CacheName } from '../../attention/cache/index.js';
import { KERNELS, type KernelName } from '../../attention/kernel/index.js';
import type { AttentionLayer } from '../../attention/layer.js';
import { STRATEGIES, type StrategyName } from '../../attention/strategy/index.js';
import { VISIBILITIES, type VisibilityName } from '../../attention/visibility/index.js';
import type { Precision } from '../tensor/tensor.js';
import type { ModelConfig } from './config.js';
import type { ModelWeights } from './weights.js';

/** `auto` takes what the checkpoint was made for. */
export interface RunOptions {
  readonly attention: StrategyName | 'auto';
  readonly visibility: VisibilityName | 'auto';
  readonly cache: CacheName;
  readonly kvDtype: KvDtype | 'auto';
  readonly kernel: KernelName;
  readonly precision: Precision;
}

export const DEFAULT_OPTIONS: RunOptions = {
  attention: 'auto',
  visibility: 'auto',
  cache: 'contiguous',
  kvDtype: 'auto',
  kernel: 'reference',
  precision: 'float32',
};

export interface Components {
  readonly layers: readonly AttentionLayer[];
  /** An empty cache for one sequence. */
  newCache(): KvCache;
}

export function componentsOf(config: ModelConfig, weights: ModelWeights, options: RunOptions): Components {
  const layers = config.layers.map((layer, index) => ({
    index,
    strategy: STRATEGIES[options.attention === 'auto' ? 'gqa' : options.attention](
      layer.attention,
      weights.layers[index]!.attention,
    ),
    visibility: VISIBILITIES[options.visibility === 'auto' ? layer.visibility : options.visibility],
    kernel: KERNELS[options.kernel],
  }));
  const { precision, kvDtype } = options;
  return {
    layers,
    newCache: () =>
      CACHES[options.cache]({
        layers: layers.map(({ strategy }) => strategy.streams),
        precision,
        dtype: kvDtype === 'auto' ? precision : kvDtype,
      }),
  };
}
