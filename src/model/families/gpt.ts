/** What GPT-2 (Radford et al. 2019) and the families that took its form have in common. */
import type { EmbeddingConfig } from '../config.js';
import type { DecoderNames } from './bind.js';
import { activation, anything, count, eps, flag, layerCount } from './common.js';

/** Defaults are those of GPT-2's smallest model. */
export const gptKeys = {
  vocab_size: count.default(50257),
  hidden_size: count.default(768),
  num_hidden_layers: layerCount.default(12),
  num_attention_heads: count.default(12),
  max_position_embeddings: count.default(1024),
  n_ctx: anything, // n_positions again
  n_inner: count.nullish(),
  activation_function: activation.default('gelu_new'),
  layer_norm_epsilon: eps.default(1e-5),
  tie_word_embeddings: flag.default(true),
};

export const GPT_SPELLING = {
  hidden_size: 'n_embd',
  max_position_embeddings: 'n_positions',
  num_attention_heads: 'n_head',
  num_hidden_layers: 'n_layer',
};

/** Learned positions, the first in row 0, as many as the context has tokens. */
export function learnedPositions(count: number): Partial<EmbeddingConfig> {
  return { positions: { count, first: 0 } };
}

/** Within `transformer.`, which files of the base model leave out. */
export const GPT_NAMES: DecoderNames = {
  embedding: 'wte',
  positions: 'wpe',
  layers: 'h',
  finalNorm: 'ln_f',
  head: 'lm_head',
  attentionNorms: { input: 'ln_1' },
  attention: { packed: 'attn.c_attn', order: 'by-part', output: 'attn.c_proj' },
  feedForwardNorms: { input: 'ln_2' },
  feedForward: { dense: { up: 'mlp.c_fc', down: 'mlp.c_proj' } },
  storage: 'outputs-first',
  // The causal mask and its value, which old files saved.
  ignored: (name) => /\.attn\.(attention\.)?(masked_)?bias$/.test(name),
};
