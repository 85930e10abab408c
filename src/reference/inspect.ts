/** What a checkpoint is, at a glance: for the person who is about to port it. */
import { TensorSource } from '../checkpoint/tensor-source.js';
import { loadModel, type Model } from '../model/load.js';
import { type Matrix, widenInto } from '../tensor/matrix.js';
import { loadTokenizer, type TextTokenizer } from '../text/tokenizer.js';

export interface Inspection {
  readonly architecture: Readonly<Record<string, string | number>>;
  /** Values in the file; tied weights count once. */
  readonly parameters: number;
  readonly dtypes: Readonly<Record<string, { tensors: number; bytes: number }>>;
  /** By the cache's dtype. */
  readonly kvBytesPerToken: Readonly<Record<string, number>>;
  /** What a port is likely to trip over. */
  readonly unusual: readonly string[];
}

/** Loads a checkpoint whole, so that it is checked whole. @throws CheckpointError */
export function inspect(folder: string, ignoreConfigKeys: readonly string[] = []): Inspection {
  const model = loadModel(folder, { ignoreConfigKeys });
  const tokenizer = loadTokenizer(folder, model.config.vocabulary);
  const source = new TensorSource(folder);
  const entries = source.entries();
  source.close();
  const dtypes: Record<string, { tensors: number; bytes: number }> = {};
  for (const { dtype, begin, end } of entries) {
    dtypes[dtype] ??= { tensors: 0, bytes: 0 };
    dtypes[dtype].tensors++;
    dtypes[dtype].bytes += end - begin;
  }
  return {
    architecture: architectureOf(model),
    parameters: entries.reduce((sum, { shape }) => sum + shape.reduce((product, length) => product * length, 1), 0),
    dtypes,
    kvBytesPerToken: { float32: 4 * kvValues(model), float64: 8 * kvValues(model) },
    unusual: unusual(model, tokenizer, Object.keys(dtypes)),
  };
}

function architectureOf({ config }: Model): Record<string, string | number> {
  const { attention, feedForward, norm, visibility } = config.layers[0]!;
  const { queryHeads, keyValueHeads, headDim, rope } = attention;
  return {
    family: config.family,
    layers: config.layers.length,
    'model width (D)': config.width,
    attention: `${attentionKind(queryHeads, keyValueHeads)}, ${visibility}`,
    'query heads (H)': queryHeads,
    'key/value heads (G)': keyValueHeads,
    'head dim (K)': headDim,
    position: rope ? `rope over ${rope.dim} values` : 'none',
    'feed-forward': `${feedForward.kind} ${feedForward.activation}, width ${feedForward.width} (F)`,
    norm: `${norm.kind}, eps ${norm.eps}`,
    'vocabulary (N)': config.vocabulary,
    context: config.context,
    head: config.tied ? 'tied to the embedding' : 'of its own',
  };
}

function attentionKind(queryHeads: number, keyValueHeads: number): string {
  if (keyValueHeads === queryHeads) return 'multi-head';
  return keyValueHeads === 1
    ? 'multi-query'
    : `grouped-query, ${queryHeads / keyValueHeads} query heads to one key/value head`;
}

/** Values that all layers store for a token. */
function kvValues({ components }: Model): number {
  return components.layers
    .flatMap(({ strategy }) => strategy.streams)
    .reduce((sum, { heads, dim }) => sum + heads * dim, 0);
}

function unusual(model: Model, tokenizer: TextTokenizer | null, dtypes: readonly string[]): string[] {
  const { config, weights } = model;
  const { attention, attentionBias, feedForward } = config.layers[0]!;
  const { queryHeads, headDim, rope } = attention;
  const joined = queryHeads * headDim;
  const notes: [boolean, string][] = [
    [joined !== config.width, `query heads x head dim = ${joined}, which is not the model width ${config.width}`],
    [attentionBias, 'the attention projections have biases'],
    [feedForward.bias, 'the feed-forward layers have biases'],
    [rope !== null && rope.magnitude !== 1, `rope scales cos and sin by ${rope?.magnitude}`],
    [rope !== null && !isGeometric(rope.frequencies), 'the rope frequencies are scaled for a longer context'],
    [dtypes.length > 1, `weights of several dtypes: ${dtypes.join(', ')}`],
    [dtypes.includes('F64'), 'F64 weights are rounded to float32 unless --precision float64'],
    [tokenizer === null, 'there is no tokenizer.json: prompts must be given as token ids'],
    [
      tokenizer !== null && tokenizer.size < config.vocabulary,
      `the vocabulary has ${config.vocabulary} rows and the tokenizer ${tokenizer?.size} tokens`,
    ],
    ...matricesOf(weights).map((matrix): [boolean, string] => [
      !allFinite(matrix),
      `${matrix.name} holds NaN or infinity`,
    ]),
  ];
  return notes.filter(([applies]) => applies).map(([, note]) => note);
}

/** Unscaled frequencies fall by one ratio from 1. */
function isGeometric(frequencies: readonly number[]): boolean {
  const ratio = frequencies[1] ?? 1;
  return frequencies.every((frequency, i) => Math.abs(frequency / ratio ** i - 1) < 1e-9);
}

function matricesOf({ embedding, layers, head }: Model['weights']): Matrix[] {
  const inside = layers.flatMap(({ attention, feedForward }) =>
    [...Object.values(attention), ...Object.values(feedForward)].map(({ weight }) => weight as Matrix),
  );
  return [...new Set([embedding, ...inside, head.weight])];
}

function allFinite(matrix: Matrix): boolean {
  const row = new Float64Array(matrix.columns);
  for (let r = 0; r < matrix.rows; r++) {
    widenInto(row, matrix, r * matrix.columns, matrix.columns);
    if (!row.every(Number.isFinite)) return false;
  }
  return true;
}
