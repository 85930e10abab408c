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

/** What a user may ask for. `auto` attends in the grouped form, sees what the config says, and stores what is computed. */
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
  /** What was chosen, by the names of the parts: no `auto` is left. */
  readonly chosen: Readonly<Record<'attention' | 'visibility' | 'cache' | 'kvDtype' | 'kernel' | 'precision', string>>;
}

export function componentsOf(config: ModelConfig, weights: ModelWeights, options: RunOptions): Components {
  const { precision } = options;
  const strategyOf = STRATEGIES[options.attention === 'auto' ? 'gqa' : options.attention];
  const kernel = KERNELS[options.kernel];
  const layers = config.layers.map((layer, index) => {
    const rule = options.visibility === 'auto' ? layer.visibility : { kind: options.visibility };
    const strategy = strategyOf(layer.attention, weights.layers[index]!.attention);
    return { index, strategy, visibility: VISIBILITIES[rule.kind](), kernel };
  });
  const dtype = options.kvDtype === 'auto' ? precision : options.kvDtype;
  const streams = layers.map(({ strategy }) => strategy.streams);
  const distinct = (names: readonly string[]) => [...new Set(names)].join(', ');
  return {
    layers,
    newCache: () => CACHES[options.cache]({ layers: streams, precision, dtype }),
    chosen: {
      attention: distinct(layers.map(({ strategy }) => strategy.name)),
      visibility: distinct(layers.map(({ visibility }) => visibility.name)),
      cache: options.cache,
      kvDtype: dtype,
      kernel: kernel.name,
      precision,
    },
  };
}
