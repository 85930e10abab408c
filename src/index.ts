/**
 * touchstone as a library: load a checkpoint, run it, generate, make goldens and traces, compare other implementations with them, and build the parts of
 * attention by hand.
 *
 * @example
 * const model = loadModel(embeddedModel());
 * const cache = model.components.newCache();
 * const logits_BN = await forward(model, [{ ids: [0, 42], cache }]);
 * @packageDocumentation
 */
export {
  type CacheBytes,
  type CacheContents,
  type CacheOptions,
  type KvCache,
  type LayerContents,
  trim,
} from '../attention/cache/cache.js';
export type { RowCodec, StoredPart } from '../attention/cache/codec/codec.js';
export {
  type FloatFormat,
  type Fp8Format,
  type IntegerFormat,
  KV_DTYPES,
  type KvAmax,
  type KvConfig,
  type KvDtype,
  type KvFormat,
  kvFormat,
} from '../attention/cache/codec/format.js';
export type { RowLayout } from '../attention/cache/codec/layout.js';
export { fnv1a, HashIndex, type PrefixHash } from '../attention/cache/hash-index.js';
export { CACHE_SIZES, CACHES, type CacheName, type CacheSizes, type CacheSource } from '../attention/cache/index.js';
export type { LayerPlan } from '../attention/cache/layer-plan.js';
export { LayeredCache, type LayerStore } from '../attention/cache/layered.js';
export { type Page, PagePool } from '../attention/cache/page-pool.js';
export { PagedCache } from '../attention/cache/paged.js';
export { type Fed, idealBytes, plannedBytes } from '../attention/cache/plan.js';
export type { PrefixIndex } from '../attention/cache/prefix-index.js';
export { RadixIndex } from '../attention/cache/radix-index.js';
export type { LayerRows } from '../attention/cache/rows.js';
export type { TokenLog } from '../attention/cache/token-log.js';
export { flashOf } from '../attention/kernel/flash.js';
export { DEVICE_NAMES, type DeviceName } from '../attention/kernel/gpu/device.js';
export { closeDevices, DEVICE_CHOICES, type DeviceChoice } from '../attention/kernel/gpu/devices.js';
export { gpuKernel } from '../attention/kernel/gpu/gpu.js';
export { KERNELS, type KernelName, kernelOn } from '../attention/kernel/index.js';
export type { AttentionCall, AttentionKernel, DeviceReport, ScoreSize } from '../attention/kernel/kernel.js';
export { type Moved, Scratch } from '../attention/kernel/scratch.js';
export { AttentionCounter, type AttentionLayer } from '../attention/layer.js';
export {
  type Alibi,
  alibiSlopes,
  PLAIN_SCORES,
  type ScoreRules,
  type ScoreStores,
  scoreOf,
} from '../attention/scores.js';
export { POSITION_POLICIES, type PositionPolicy, SlotRotations } from '../attention/slots.js';
export type {
  RowStore,
  Stored,
  StoredDtype,
  StoredForm,
  StoredKind,
  StoredRows,
  StoredStream,
  StoreWatcher,
} from '../attention/stored.js';
export { STRATEGIES, type StrategyName } from '../attention/strategy/index.js';
export type {
  AttentionConfig,
  AttentionStrategy,
  AttentionWeights,
  GroupedConfig,
  GroupedWeights,
  LatentConfig,
  LatentQueryWeights,
  LatentWeights,
  QkNormConfig,
  RotatedStream,
  StrategyBuilder,
  TemperatureConfig,
} from '../attention/strategy/strategy.js';
export type { CacheBlock, LayerSchema, Retention, StreamRows, StreamSchema } from '../attention/streams.js';
export {
  VISIBILITIES,
  type VisibilityConfig,
  type VisibilityName,
  visibilityOf,
} from '../attention/visibility/index.js';
export { windowOfPast } from '../attention/visibility/sliding.js';
export type { Visibility } from '../attention/visibility/visibility.js';
export { eosIdsOf, type SamplingDefaults, samplingOf } from './checkpoint/folder.js';
export { type HubOptions, modelFolder } from './checkpoint/hub/model-folder.js';
export type { Environment } from './checkpoint/hub/settings.js';
export type { HubProgress } from './checkpoint/hub/snapshot.js';
export type { ModelNeed } from './checkpoint/hub/wanted.js';
export type { Dtype, Header, TensorEntry } from './checkpoint/safetensors/header.js';
export type { Numbers } from './checkpoint/safetensors/numbers.js';
export { openSafetensors, type SafetensorsFile } from './checkpoint/safetensors/read.js';
export { type TensorToWrite, writeSafetensors } from './checkpoint/safetensors/write.js';
export { embeddedModel } from './embedded.js';
export {
  CheckpointError,
  DeviceError,
  HubError,
  type HubReason,
  RequestError,
  ShapeError,
  TouchstoneError,
  UsageError,
} from './errors.js';
export { loadCache, saveCache } from './generate/cache-file.js';
export { Conversation } from './generate/conversation.js';
export { type FeedOptions, feed, type GeneratedToken, type GenerateOptions, generate } from './generate/generate.js';
export { rewind } from './generate/rewind.js';
export {
  argmax,
  createSampler,
  logProbability,
  marginOf,
  type Sampler,
  type SamplerOptions,
} from './generate/sampler.js';
export type { Activation } from './math/elementwise.js';
export type { Linear } from './math/linear.js';
export type { NormConfig, NormWeights } from './math/norm.js';
export type { Rope, RopeStores, Rotation } from './math/rope.js';
export { type Chosen, type Components, componentsOf, DEFAULT_OPTIONS, type RunOptions } from './model/components.js';
export type {
  BranchConfig,
  ClampConfig,
  DenseConfig,
  EmbeddingConfig,
  ExpertsConfig,
  FeedForwardConfig,
  GatedConfig,
  GroupedRouting,
  HeadConfig,
  LayerConfig,
  LearnedPositions,
  ModelConfig,
  PlainConfig,
  RouterConfig,
  SharedExpertConfig,
} from './model/config.js';
export { type Conversion, convertHeads } from './model/convert-heads.js';
export { assemble, type ConfigOptions, type LoadOptions, loadModel, type Model } from './model/load.js';
export { type ForwardOptions, forward, type Sequence } from './model/transformer.js';
export type {
  BranchWeights,
  DenseWeights,
  EmbeddingWeights,
  ExpertsWeights,
  FeedForwardWeights,
  GatedWeights,
  HeadWeights,
  LayerWeights,
  ModelWeights,
  PlainWeights,
  SharedExpertWeights,
} from './model/weights.js';
export { calibrate, type KvScales, readScales, writeScales } from './reference/calibrate.js';
export type {
  Bisection,
  ComparedDtype,
  Comparison,
  Measures,
  Parting,
  Place,
  Root,
  RowComparison,
  TensorComparison,
  TokenComparison,
  TokenDifference,
  Verdict,
} from './reference/compare/comparison.js';
export { type CompareOptions, compare } from './reference/compare/index.js';
export type { Conclusion, Diagnosis, ExplainedFault, Explanation } from './reference/diagnose/diagnosis.js';
export type { Where } from './reference/diagnose/hypothesis.js';
export { type DiagnoseOptions, diagnose } from './reference/diagnose/index.js';
export { conclusionText } from './reference/diagnose/words.js';
export { type Divergence, divergenceOf } from './reference/divergence.js';
export type { Dump, DumpTensor } from './reference/dump/dump.js';
export { dumpOf, type HeldTensor } from './reference/dump/in-memory.js';
export { type NameMap, readNameMap } from './reference/dump/name-map.js';
export { openDump } from './reference/dump/open.js';
export { FEATURES, type Feature } from './reference/features/index.js';
export { type Golden, type GoldenOptions, makeGolden } from './reference/golden.js';
export { type Architecture, type Inspection, inspect } from './reference/inspect.js';
export { type KitOptions, type KitSummary, writeKit } from './reference/kit/index.js';
export { nameOfRule, type Relation, type RunChoice, relationOf } from './reference/lattice.js';
export {
  type Allocation,
  MEMORY_FORMATS,
  type MemoryAsked,
  type MemoryFigures,
  type MemoryOptions,
  type MemoryReport,
  type MemoryRow,
  memoryReport,
} from './reference/memory.js';
export { type AttentionShape, type LayerShape, type MemoryShape, shapeOfFolder } from './reference/memory-shape.js';
export {
  type Candidate,
  candidatesFor,
  type FedTokens,
  MUTANT_GROUPS,
  MUTANTS,
  type Mutant,
  type MutantGroup,
  type Mutation,
  mutantNamed,
  type Parts,
  type Variant,
} from './reference/mutants/index.js';
export { type Computed, type Kept, type ModelPart, type MutantRun, runMutated } from './reference/mutants/run.js';
export { PRESETS, type Preset, presetOf } from './reference/presets.js';
export {
  type LossyChoice,
  lossyForms,
  lossyRules,
  measureQuality,
  type Quality,
  type QualityOptions,
} from './reference/quality.js';
export { counterpart } from './reference/trace/counterpart.js';
export type { Capture } from './reference/trace/format.js';
export { type TraceOptions, type TraceSummary, trace, writeTrace } from './reference/trace/index.js';
export type { Splice } from './reference/trace/run.js';
export type { PlannedTensor, TraceDtype } from './reference/trace/sink.js';
export { AXES, type Axis } from './tensor/axes.js';
export type { Float8Dtype, FloatBits, FloatDtype } from './tensor/dtype.js';
export { Bfloat16Floats, type EmulatedPrecision, Float16Floats } from './tensor/emulated.js';
export type { Matrix } from './tensor/matrix.js';
export { type Tap, untapped } from './tensor/tap.js';
export {
  expectShape,
  type Floats,
  flat,
  type Precision,
  type Tensor,
  type TruePrecision,
  tensor,
} from './tensor/tensor.js';
export {
  type ChatMessage,
  type ChatOptions,
  type ChatTemplate,
  chatTemplate,
  loadChatTemplate,
  readChatTemplate,
  type TemplateTokens,
  templateTokens,
} from './text/chat-template.js';
export { detokenizer, stopFilter, type TextStream } from './text/stream.js';
export { type DecodeOptions, type EncodeOptions, loadTokenizer, type TextTokenizer } from './text/tokenizer.js';
export { VERSION } from './version.js';
