/** The tensors of a checkpoint by name -> typed weights. What is read is what the config has; where it stands is a family's table of names. */

import type { AttentionWeights } from '../../../attention/strategy/strategy.js';
import type { WeightSource } from '../../checkpoint/tensor-source.js';
import { CheckpointError } from '../../errors.js';
import type { Linear } from '../../math/linear.js';
import type { Matrix } from '../../tensor/matrix.js';
import type { BranchConfig, LayerConfig, ModelConfig } from '../config.js';
import type { LinearStorage, WeightReader } from '../weight-reader.js';
import type { BranchWeights, HeadWeights, ModelWeights } from '../weights.js';
import { type AttentionNames, bindAttention } from './bind-attention.js';
import { bindFeedForward, type FeedForwardNames } from './bind-feed-forward.js';
import { named } from './named.js';

/** What a family calls its tensors, without `.weight` and `.bias`; those of a layer, within the layer. */
export interface DecoderNames {
  readonly embedding: string;
  readonly projectIn?: string;
  readonly positions?: string;
  readonly embeddingNorm?: string;
  /** `NAME.0`, `NAME.1`, ... are the layers. */
  readonly layers: string;
  readonly finalNorm: string;
  readonly projectOut?: string;
  readonly head: string;
  readonly attentionNorms: BranchNames;
  readonly attention: AttentionNames;
  readonly feedForwardNorms: BranchNames;
  readonly feedForward: FeedForwardNames;
  readonly storage: LinearStorage;
  /** Tensors that no logit needs: buffers that old files saved. */
  readonly ignored: (name: string) => boolean;
}

interface BranchNames {
  readonly input?: string;
  readonly output?: string;
  readonly sum?: string;
}

/** Names that depend on the config, or on what the file has: older files call some tensors otherwise. */
export type NamesFor = (config: ModelConfig, file: Pick<WeightSource, 'has'>) => DecoderNames;

/** Names before all of which but the head's stands a prefix, which files of the base model alone (without a class for its head) leave out. */
export function prefixed(prefix: string, names: DecoderNames): NamesFor {
  const full = {
    ...names,
    embedding: prefix + names.embedding,
    layers: prefix + names.layers,
    finalNorm: prefix + names.finalNorm,
    ...(names.projectIn && { projectIn: prefix + names.projectIn }),
    ...(names.positions && { positions: prefix + names.positions }),
    ...(names.embeddingNorm && { embeddingNorm: prefix + names.embeddingNorm }),
    ...(names.projectOut && { projectOut: prefix + names.projectOut }),
  };
  return (_, file) => (file.has(`${names.embedding}.weight`) ? names : full);
}

/** Names of Llama, which most families took over. */
export const LLAMA_NAMES: DecoderNames = {
  embedding: 'model.embed_tokens',
  layers: 'model.layers',
  finalNorm: 'model.norm',
  head: 'lm_head',
  attentionNorms: { input: 'input_layernorm' },
  attention: {
    query: 'self_attn.q_proj',
    key: 'self_attn.k_proj',
    value: 'self_attn.v_proj',
    output: 'self_attn.o_proj',
    queryNorm: 'self_attn.q_norm',
    keyNorm: 'self_attn.k_norm',
  },
  feedForwardNorms: { input: 'post_attention_layernorm' },
  feedForward: { dense: { gate: 'mlp.gate_proj', up: 'mlp.up_proj', down: 'mlp.down_proj' } },
  storage: 'outputs-first',
  ignored: (name) => /\.rotary_emb\.inv_freq$/.test(name),
};

/** Reads all that the config has. @throws CheckpointError for a tensor that is missing or of another shape */
export function bindDecoder(config: ModelConfig, reader: WeightReader, names: DecoderNames): ModelWeights {
  const { vocabulary, width, embedding, finalNorm } = config;
  reader.source.ignore(names.ignored);
  const tokens = reader.matrix(names.embedding, vocabulary, embedding.width);
  const projected = embedding.width !== width;
  const rows = embedding.positions && embedding.positions.count + embedding.positions.first;
  return {
    embedding: {
      tokens,
      projectIn: projected
        ? reader.linear(named(names.projectIn, 'embedding.width'), width, embedding.width, false)
        : null,
      positions: rows === null ? null : reader.matrix(named(names.positions, 'embedding.positions'), rows, width),
      norm: embedding.norm && reader.norm(named(names.embeddingNorm, 'embedding.norm'), embedding.norm, width),
    },
    layers: config.layers.map((layer, i) => bindLayer(layer, width, `${names.layers}.${i}`, reader, names)),
    finalNorm: finalNorm && reader.norm(names.finalNorm, finalNorm, width),
    head: {
      projectOut: projected
        ? reader.linear(named(names.projectOut, 'embedding.width'), embedding.width, width, false)
        : null,
      output: bindHead(config, reader, tokens, names.head),
    },
  };
}

function bindLayer(layer: LayerConfig, width: number, name: string, reader: WeightReader, names: DecoderNames) {
  return {
    attentionNorms: bindBranch(layer.attentionBranch, names.attentionNorms, width, name, reader),
    attention: bindAttention(layer, width, name, reader, names) satisfies AttentionWeights,
    feedForwardNorms: bindBranch(layer.feedForwardBranch, names.feedForwardNorms, width, name, reader),
    feedForward: bindFeedForward(layer.feedForward, width, name, reader, names),
  };
}

function bindBranch(
  config: BranchConfig,
  names: BranchNames,
  width: number,
  layer: string,
  reader: WeightReader,
): BranchWeights {
  const read = (norm: BranchConfig['inputNorm'], name: string | undefined) => {
    return norm && reader.norm(`${layer}.${named(name, 'a norm of a branch')}`, norm, width);
  };
  return {
    input: read(config.inputNorm, names.input),
    output: read(config.outputNorm, names.output),
    sum: read(config.sumNorm, names.sum),
  };
}

/** The head: the embedding where they are tied (then a copy in the file must be the same), else a matrix of its own. */
function bindHead({ head }: ModelConfig, reader: WeightReader, tokens: Matrix, name: string): HeadWeights['output'] {
  if (!head.tied) return reader.linear(name, tokens.rows, tokens.columns, head.bias);
  if (reader.source.has(`${name}.weight`)) {
    expectSameBits(tokens, reader.matrix(name, tokens.rows, tokens.columns), reader.source.folder);
  }
  const tied: Linear = { weight: tokens, bias: head.bias ? reader.vector(`${name}.bias`, tokens.rows) : null };
  return tied;
}

function expectSameBits(embedding: Matrix, head: Matrix, folder: string): void {
  const same = embedding.dtype === head.dtype && embedding.bits.every((word, i) => Object.is(word, head.bits[i]));
  if (!same) {
    throw new CheckpointError(
      `${folder}: config.json ties the output head to the embedding (tie_word_embeddings = true), ` +
        `but ${head.name} differs from ${embedding.name}; set the key to false, or remove the tensor.`,
    );
  }
}
