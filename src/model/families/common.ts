/** Parts of config.json that most families share. */
import { z } from 'zod';
import type { TensorSource } from '../../checkpoint/tensor-source.js';
import { CheckpointError } from '../../errors.js';
import { ACTIVATION_NAMES, type Activation } from '../../math/elementwise.js';
import type { Linear } from '../../math/linear.js';
import type { Matrix } from '../../tensor/matrix.js';
import type { WeightReader } from '../weights.js';

export const count = z.int().positive();
export const flag = z.boolean();
export const activation = z.enum(ACTIVATION_NAMES as readonly [Activation, ...Activation[]]);
export const anything = z.unknown().optional();

/**
 * Keys that do not change what a forward pass computes: training settings, bookkeeping, tokens' roles, switches for outputs
 * that are not asked for. They are listed, so that a key that is neither used nor here is an error.
 */
export const inertKeys = {
  _name_or_path: anything,
  architectures: anything,
  attention_dropout: anything,
  attn_implementation: anything,
  bos_token_id: anything,
  chunk_size_feed_forward: anything,
  dtype: anything,
  eos_token_id: anything,
  id2label: anything,
  initializer_range: anything,
  is_encoder_decoder: z.literal(false, 'only decoder-only models are supported').optional(),
  label2id: anything,
  output_attentions: anything,
  output_hidden_states: anything,
  pad_token_id: anything,
  problem_type: anything,
  return_dict: anything,
  torch_dtype: anything,
  transformers_version: anything,
  unk_token_id: anything,
  use_cache: anything,
};

/** The head: the embedding where they are tied (then a copy in the file must be the same), else a matrix of its own. */
export function readHead(reader: WeightReader, embedding: Matrix, tied: boolean, name: string): Linear {
  if (!tied) return reader.linear(name, embedding.rows, embedding.columns, false);
  if (reader.source.has(`${name}.weight`)) {
    expectSameBits(embedding, reader.matrix(name, embedding.rows, embedding.columns), reader.source);
  }
  return { weight: embedding, bias: null };
}

function expectSameBits(embedding: Matrix, head: Matrix, source: TensorSource): void {
  const same = embedding.dtype === head.dtype && embedding.bits.every((word, i) => Object.is(word, head.bits[i]));
  if (!same) {
    throw new CheckpointError(
      `${source.folder}: config.json ties the output head to the embedding (tie_word_embeddings = true), ` +
        `but ${head.name} differs from ${embedding.name}; set the key to false, or remove the tensor.`,
    );
  }
}
