/**
 * The forward pass: embedding, then blocks of attention and feed-forward around a residual stream, then logits.
 *
 * There is one path. A prompt, a chunk of it, one more token, and several sequences at once differ in how many rows the
 * tensors have, and a token's logits are the same to the bit in all of them.
 */
import type { KvCache } from '../../attention/cache/cache.js';
import { expectRoomTogether } from '../../attention/cache/paged.js';
import { AttentionCounter, attentionLayer, type SequencePart } from '../../attention/layer.js';
import { RequestError } from '../errors.js';
import { normalise } from '../math/norm.js';
import { type Rope, type Rotation, rotationAt } from '../math/rope.js';
import { type Tap, tapWithin, untapped } from '../tensor/tap.js';
import { flat, type Precision, rowsOf, type Tensor, zerosLike } from '../tensor/tensor.js';
import { block } from './block.js';
import { embed, expectIds, expectPositions } from './embedding.js';
import { feedForward } from './feed-forward.js';
import { logitsOf } from './head.js';
import type { Model } from './load.js';

/** New tokens of one sequence. They follow those that its cache holds: from position `cache.next` on. */
export interface Sequence {
  readonly ids: readonly number[];
  readonly cache: KvCache;
}

export interface ForwardOptions {
  /** Logits of each sequence's last new token alone (default), or of all new tokens. */
  readonly logits?: 'last' | 'all';
  /** Is given what attention computed, reused and took. */
  readonly counter?: AttentionCounter | undefined;
  /** Awaited after each layer: a chance for timers and signals, which computation alone would starve. */
  readonly pause?: (() => Promise<void>) | undefined;
  /** Is shown what the pass computes, of all sequences together, and may have it go on with something else. */
  readonly tap?: Tap | undefined;
}

/**
 * Runs new tokens of one or more sequences through the model and commits them to their caches.
 * @returns logits [sequences, N], or [all new tokens, N] in the order of the sequences
 * @throws RequestError for an id outside the vocabulary, or a position that the model has none for. Whatever is thrown, no cache has changed.
 */
export async function forward(
  model: Model,
  sequences: readonly Sequence[],
  options: ForwardOptions = {},
): Promise<Tensor> {
  const parts = partsOf(sequences);
  const ids = sequences.flatMap((sequence) => sequence.ids);
  expectIds(ids, model.config.vocabulary);
  if (model.options.positions === 'absolute') {
    for (const { positions } of parts) expectPositions(positions, model.config);
  }
  const begun: KvCache[] = []; // by this pass, and so this pass's to end
  expectRoomTogether(parts.map(({ cache, from, to }) => ({ cache, tokens: to - from })));
  try {
    for (const { cache, from, to, positions } of parts) {
      cache.begin(positions, ids.slice(from, to));
      begun.push(cache);
    }
    const logits = await pass(model, ids, parts, options);
    for (const cache of begun) cache.commit();
    return logits;
  } catch (error) {
    for (const cache of begun) cache.abort();
    throw error;
  }
}

/** The pass itself: it writes to the caches, and commits nothing. */
async function pass(
  { config, weights, components, options: { precision } }: Model,
  ids: readonly number[],
  parts: readonly SequencePart[],
  { logits, counter = new AttentionCounter(), pause, tap = untapped }: ForwardOptions,
): Promise<Tensor> {
  const positions = Int32Array.from(parts.flatMap((part) => [...part.positions]));
  const rotationOf = rotations(positions, precision);
  let x_TD = tap('embeddings', embed(ids, positions, config.embedding, weights.embedding, precision));

  for (const [i, layer] of config.layers.entries()) {
    const own = weights.layers[i]!;
    const rotation = rotationOf(layer.attention.rope);
    const tapped = tapWithin(tap, `layers.${i}`);
    x_TD = await block(x_TD, layer, own, {
      attention: (in_TD) => attentionLayer(in_TD, components.layers[i]!, rotation, parts, counter, tapped),
      feedForward: (in_TD) => feedForward(in_TD, own.feedForward, layer.feedForward, tapped),
      tap: tapped,
    });
    await pause?.();
  }

  const last_TD = logits === 'all' ? x_TD : lastRows(x_TD, parts);
  const final_TD = config.finalNorm ? normalise(last_TD, config.finalNorm, weights.finalNorm!) : last_TD;
  return tap('logits', logitsOf(tap('final_norm', final_TD), weights.head, config.head));
}

/** Where each sequence's tokens stand among those computed together, and their absolute positions. */
function partsOf(sequences: readonly Sequence[]): SequencePart[] {
  if (new Set(sequences.map(({ cache }) => cache)).size < Math.max(sequences.length, 1)) {
    throw new RequestError('A forward pass needs at least one sequence, and each must have a cache of its own.');
  }
  let to = 0;
  return sequences.map(({ ids, cache }) => {
    if (ids.length === 0) throw new RequestError('A forward pass needs at least one new token of each sequence.');
    const from = to;
    to += ids.length;
    return { cache, from, to, positions: Int32Array.from(ids, (_, i) => cache.next + i) };
  });
}

/** The rotation that a layer's rope asks for, made once for all layers that share it. */
function rotations(positions: Int32Array, precision: Precision): (rope: Rope | null) => Rotation | null {
  const made = new Map<Rope, Rotation>();
  return (rope) => {
    if (rope && !made.has(rope)) made.set(rope, rotationAt(rope, positions, precision));
    return rope && made.get(rope)!;
  };
}

/** The last row of each sequence: [sequences, D]. */
function lastRows(x_TD: Tensor, parts: readonly SequencePart[]): Tensor {
  const width = x_TD.shape[1]!;
  const last = zerosLike(x_TD, [parts.length, width]);
  for (const [i, { to }] of parts.entries()) last.data.set(flat(rowsOf(x_TD, to - 1, to)), i * width);
  return last;
}
