/** What a checkpoint is, at a glance: for the person who is about to port it. */
import { KV_DTYPES, type KvDtype } from '../../attention/cache/codec/format.js';
import { layoutOf, tokenBytes } from '../../attention/cache/codec/layout.js';
import type { AttentionConfig } from '../../attention/strategy/strategy.js';
import { notFiniteIn } from '../checkpoint/not-finite.js';
import type { TensorEntry } from '../checkpoint/safetensors/header.js';
import { TensorSource } from '../checkpoint/tensor-source.js';
import type { NormConfig } from '../math/norm.js';
import type { BranchConfig, FeedForwardConfig, LayerConfig, ModelConfig } from '../model/config.js';
import { type ConfigOptions, type LoadOptions, loadConfig, loadModel, type Model } from '../model/load.js';
import { quantisationNotes, weightsIn } from '../model/quantisation.js';
import { loadTokenizer, type TextTokenizer } from '../text/tokenizer.js';
import { FEATURES } from './features/index.js';
import { denseOf } from './features/parts.js';

export interface Inspection {
  readonly architecture: Architecture;
  /** Weights in the file; tied ones count once, scales of quantised ones and buffers of integers not at all. */
  readonly parameters: number;
  readonly dtypes: Readonly<Record<string, { tensors: number; bytes: number }>>;
  /** By the cache's dtype. */
  readonly kvBytesPerToken: Readonly<Record<string, number>>;
  /** What a port is likely to trip over. */
  readonly unusual: readonly string[];
}

/** Where layers differ, texts name every kind, and figures are the first layer's. */
export interface Architecture {
  readonly family: string;
  readonly layers: number;
  readonly width: number;
  readonly attention: string;
  readonly visibility: string;
  readonly queryHeads: number;
  /** null: they come from a latent. */
  readonly keyValueHeads: number | null;
  /** Of keys; with a latent, the part with rope and the part without. */
  readonly headDim: number;
  /** null: there is none. */
  readonly latentRank: number | null;
  /** What tells tokens where they stand. */
  readonly positions: string;
  /** Values of a head that are rotated; null: no rope. */
  readonly ropeDim: number | null;
  readonly feedForward: string;
  /** Of the first layer; of one of its experts where it has some. */
  readonly feedForwardWidth: number;
  readonly activation: string;
  readonly norm: string;
  readonly normEps: number;
  readonly normPlacement: string;
  readonly vocabulary: number;
  readonly context: number;
  readonly tiedHead: boolean;
  /** What the model has, by the names of `FEATURES`. */
  readonly features: readonly string[];
}

/** Loads a checkpoint whole, so that it is checked whole. @throws CheckpointError */
export function inspect(folder: string, options: ConfigOptions & Pick<LoadOptions, 'progress'> = {}): Inspection {
  const model = loadModel(folder, options);
  const tokenizer = loadTokenizer(folder, model.config.vocabulary);
  const source = new TensorSource(folder);
  try {
    const entries = source.entries();
    const dtypes = bytesByDtype(entries);
    const { quantisation } = loadConfig(folder, options);
    const has = (name: string) => source.has(name);
    return {
      architecture: architectureOf(model),
      parameters: entries.reduce((sum, entry) => sum + weightsIn(entry, quantisation, has), 0),
      dtypes,
      kvBytesPerToken: Object.fromEntries(KV_DTYPES.map((dtype) => [dtype, kvBytes(model, dtype)])),
      unusual: [
        ...unusual(model, tokenizer, Object.keys(dtypes)),
        ...quantisationNotes(quantisation, entries),
        ...notFinite(source.paths),
      ],
    };
  } finally {
    source.close();
  }
}

function bytesByDtype(entries: readonly TensorEntry[]): Record<string, { tensors: number; bytes: number }> {
  const dtypes: Record<string, { tensors: number; bytes: number }> = {};
  for (const { dtype, begin, end } of entries) {
    dtypes[dtype] ??= { tensors: 0, bytes: 0 };
    dtypes[dtype].tensors++;
    dtypes[dtype].bytes += end - begin;
  }
  return dtypes;
}

function architectureOf({ config, components }: Model): Architecture {
  const { attention } = config.layers[0]!;
  const norm = firstNorm(config);
  const dense = denseOf(config.layers[0]!.feedForward);
  const latent = attention.kind === 'latent';
  return {
    family: config.family,
    layers: config.layers.length,
    width: config.width,
    attention: kindsOf(config.layers.map((layer) => attentionKind(layer.attention))),
    visibility: kindsOf(components.layers.map(({ visibility }) => visibility.name)),
    queryHeads: attention.queryHeads,
    keyValueHeads: latent ? null : attention.keyValueHeads,
    headDim: latent ? attention.nopeDim + attention.ropeDim : attention.headDim,
    latentRank: latent ? attention.latentRank : null,
    positions: kindsOf(config.layers.map((layer) => positionsOf(layer, config))),
    ropeDim: attention.rope?.dim ?? null,
    feedForward: kindsOf(config.layers.map((layer) => feedForwardKind(layer.feedForward))),
    feedForwardWidth: dense.width,
    activation: dense.kind === 'gated' && dense.clamp ? `clamped ${dense.activation}` : dense.activation,
    norm: norm.kind,
    normEps: norm.eps,
    normPlacement: kindsOf(config.layers.map(placementOf)),
    vocabulary: config.vocabulary,
    context: config.context,
    tiedHead: config.head.tied,
    features: FEATURES.filter(({ has }) => has(config)).map(({ name }) => name),
  };
}

/** Each kind once; with the number of layers that are of it where there are several. */
function kindsOf(each: readonly string[]): string {
  const kinds = [...new Set(each)];
  if (kinds.length === 1) return kinds[0]!;
  return kinds.map((kind) => `${kind} (${each.filter((other) => other === kind).length} layers)`).join(', ');
}

function attentionKind(attention: AttentionConfig): string {
  if (attention.kind === 'latent') return `multi-head latent, of rank ${attention.latentRank}`;
  const { queryHeads, keyValueHeads } = attention;
  if (keyValueHeads === queryHeads) return 'multi-head';
  return keyValueHeads === 1
    ? 'multi-query'
    : `grouped-query, ${queryHeads / keyValueHeads} query heads to one key/value head`;
}

function feedForwardKind(config: FeedForwardConfig): string {
  if (config.kind !== 'experts') return `${config.kind} of ${config.width}`;
  const { perToken, count, expert, shared } = config;
  return `${perToken} of ${count} experts of ${expert.width}${shared ? ` and a shared one of ${shared.feedForward.width}` : ''}`;
}

function positionsOf({ attention }: LayerConfig, { embedding }: ModelConfig): string {
  if (attention.rope) return `rope over ${attention.rope.dim} values`;
  if (attention.kind === 'grouped' && attention.alibi) return 'linear biases (ALiBi)';
  return embedding.positions ? 'learned' : 'none';
}

/** Every model has a norm somewhere: before a part, or after one. */
function firstNorm({ layers, finalNorm }: ModelConfig): NormConfig {
  const { inputNorm, outputNorm, sumNorm } = layers[0]!.attentionBranch;
  return (inputNorm ?? outputNorm ?? sumNorm ?? finalNorm)!;
}

function placementOf({ attentionBranch, parallel }: LayerConfig): string {
  return `${normsOf(attentionBranch)}${parallel ? ', both parts side by side' : ''}`;
}

function normsOf({ inputNorm, outputNorm, sumNorm }: BranchConfig): string {
  if (sumNorm) return 'after each sum';
  if (inputNorm && outputNorm) return 'before and after each part';
  return inputNorm ? 'before each part' : 'after each part';
}

/** Bytes that all layers store for a token. */
function kvBytes({ components }: Model, dtype: KvDtype): number {
  return components.schemas.reduce((sum, schema, i) => sum + tokenBytes(layoutOf(dtype, schema, i)), 0);
}

function unusual({ config }: Model, tokenizer: TextTokenizer | null, dtypes: readonly string[]): string[] {
  const { attention } = config.layers[0]!;
  const joined = attention.queryHeads * (attention.kind === 'latent' ? attention.valueDim : attention.headDim);
  const files: [boolean, string][] = [
    [
      joined !== config.width,
      `query heads x ${attention.kind === 'latent' ? 'value' : 'head'} dim = ${joined}, which is not the model width ${config.width}`,
    ],
    [dtypes.length > 1, `weights of several dtypes: ${dtypes.join(', ')}`],
    [dtypes.includes('F64'), 'F64 weights are rounded to float32 unless --precision float64'],
    [tokenizer === null, 'there is no tokenizer.json: prompts must be given as token ids'],
    [
      tokenizer !== null && tokenizer.size < config.vocabulary,
      `the vocabulary has ${config.vocabulary} rows and the tokenizer ${tokenizer?.size} tokens`,
    ],
  ];
  return [
    ...FEATURES.flatMap(({ name, note, has }) => (note && has(config) ? [`${name}: ${note(config)}`] : [])),
    ...files.filter(([applies]) => applies).map(([, note]) => note),
  ];
}

function notFinite(paths: readonly string[]): string[] {
  return paths.flatMap(notFiniteIn).map((name) => `${name} holds NaN or infinity`);
}
