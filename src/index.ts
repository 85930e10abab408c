/**
 * touchstone as a library: load a checkpoint, run it, generate, make goldens, and build the parts of attention by hand.
 *
 * @example
 * const model = loadModel(embeddedModel());
 * const cache = model.components.newCache();
 * const logits_BN = await forward(model, [{ ids: [0, 42], cache }]);
 */
export type { CacheOptions, KvCache, KvDtype } from '../attention/cache/cache.js';
export { CACHES, type CacheName } from '../attention/cache/index.js';
export { KERNELS, type KernelName } from '../attention/kernel/index.js';
export type { AttentionCall, AttentionKernel } from '../attention/kernel/kernel.js';
export { AttentionCounter, type AttentionLayer } from '../attention/layer.js';
export { STRATEGIES, type StrategyName } from '../attention/strategy/index.js';
export type {
  AttentionConfig,
  AttentionStrategy,
  AttentionWeights,
  StrategyBuilder,
} from '../attention/strategy/strategy.js';
export type { CacheBlock, StreamRows, StreamSchema } from '../attention/streams.js';
export { VISIBILITIES, type VisibilityConfig, type VisibilityName } from '../attention/visibility/index.js';
export type { Visibility } from '../attention/visibility/visibility.js';
export { eosIdsOf } from './checkpoint/folder.js';
export type { Dtype, Header, TensorEntry } from './checkpoint/safetensors/header.js';
export { openSafetensors, type SafetensorsFile } from './checkpoint/safetensors/read.js';
export { type TensorToWrite, writeSafetensors } from './checkpoint/safetensors/write.js';
export { embeddedModel } from './embedded.js';
export { CheckpointError, RequestError, ShapeError, TouchstoneError, UsageError } from './errors.js';
export { type FeedOptions, feed, type GeneratedToken, type GenerateOptions, generate } from './generate/generate.js';
export {
  argmax,
  createSampler,
  logProbability,
  marginOf,
  type Sampler,
  type SamplerOptions,
} from './generate/sampler.js';
export { type Components, componentsOf, DEFAULT_OPTIONS, type RunOptions } from './model/components.js';
export type { FeedForwardConfig, LayerConfig, ModelConfig, NormConfig } from './model/config.js';
export { assemble, type LoadOptions, loadModel, type Model } from './model/load.js';
export { type ForwardOptions, forward, type Sequence } from './model/transformer.js';
export type { GatedWeights, LayerWeights, ModelWeights } from './model/weights.js';
export { type Golden, type GoldenOptions, makeGolden, writeGolden } from './reference/golden.js';
export { type Architecture, type Inspection, inspect } from './reference/inspect.js';
export { AXES, type Axis } from './tensor/axes.js';
export type { Matrix } from './tensor/matrix.js';
export { expectShape, type Floats, flat, type Precision, type Tensor, tensor } from './tensor/tensor.js';
export { detokenizer, stopFilter, type TextStream } from './text/stream.js';
export { loadTokenizer, type TextTokenizer } from './text/tokenizer.js';
export { VERSION } from './version.js';
