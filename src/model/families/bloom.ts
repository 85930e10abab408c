import { z } from 'zod';
import { alibiSlopes } from '../../../attention/scores.js';
import { type DecoderNames, prefixed } from './bind.js';
import { anything, count, eps, flag, layerCount } from './common.js';
import { bothBiases, branch, grouped, headsOf, layer, layerNorm, plain, uniform } from './decoder.js';
import { family } from './family.js';
import { GPT_NAMES } from './gpt.js';

/** Falcon has them too. */
export const BLOOM_NAMES: DecoderNames = {
  ...GPT_NAMES,
  embedding: 'word_embeddings',
  embeddingNorm: 'word_embeddings_layernorm',
  attentionNorms: { input: 'input_layernorm' },
  attention: { packed: 'self_attention.query_key_value', order: 'by-group', output: 'self_attention.dense' },
  feedForwardNorms: { input: 'post_attention_layernorm' },
  feedForward: { dense: { up: 'mlp.dense_h_to_4h', down: 'mlp.dense_4h_to_h' } },
};

/** BLOOM (Le Scao et al. 2022): ALiBi, a norm after the embedding, and in some models residuals that begin after their norm. */
export const bloom = family({
  modelType: 'bloom',

  keys: {
    vocab_size: count.default(250880),
    hidden_size: count.default(64),
    num_hidden_layers: layerCount.default(2),
    num_attention_heads: count.default(8),
    // ALiBi has no end; this is the length that a model was trained on.
    max_position_embeddings: count.default(2048),
    layer_norm_epsilon: eps.default(1e-5),
    apply_residual_connection_post_layernorm: flag.default(false),
    tie_word_embeddings: flag.default(true),
    n_inner: z.null('BLOOM makes its feed-forward layers four times as wide as the model').optional(),
    // The same sums split over devices, and what the code that trained it fused.
    attention_softmax_in_fp32: anything,
    bias_dropout_fusion: anything,
    masked_softmax_fusion: anything,
    offset_alibi: anything,
    pretraining_pp: anything,
    skip_bias_add: anything,
    skip_bias_add_qkv: anything,
    slow_but_exact: anything,
  },
  spelling: {
    hidden_size: 'n_embed',
    max_position_embeddings: 'seq_length',
    num_attention_heads: 'n_head',
    num_hidden_layers: 'n_layer',
  },

  configure(keys, origin) {
    const norm = layerNorm(keys.layer_norm_epsilon);
    const heads = headsOf(keys, origin);
    const alibi = { slopes: alibiSlopes(heads.queryHeads), form: 'distance', factor: 1, emulatedAs: 'key' } as const;
    const normed = branch({ inputNorm: norm, addsToNormed: keys.apply_residual_connection_post_layernorm });
    const each = layer(norm, {
      attention: grouped(heads, null, { alibi, scoreStores: { product: false, scaled: false, biased: true } }),
      attentionBias: bothBiases(true),
      attentionBranch: normed,
      feedForward: plain(4 * keys.hidden_size, 'bloom_gelu', true),
      feedForwardBranch: normed,
    });
    return uniform(keys, each, norm, origin, { embedding: { norm } });
  },

  names: prefixed('transformer.', BLOOM_NAMES),
});
