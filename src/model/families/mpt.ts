import { z } from 'zod';
import { alibiSlopes } from '../../../attention/scores.js';
import { prefixed } from './bind.js';
import { anything, codeTakenOver, count, eps, factor, flag, inertKeys, layerCount } from './common.js';
import { grouped, headsOf, layer, layerNorm, plain, uniform } from './decoder.js';
import { family } from './family.js';
import { GPT_NAMES } from './gpt.js';

const attentionKeys = z.strictObject({
  ...inertKeys,
  model_type: anything,
  attn_type: z.literal('multihead_attention').optional(),
  attn_impl: anything,
  clip_qkv: z.number().nonnegative().nullish(),
  softmax_scale: factor.nullish(),
  prefix_lm: z.literal(false, 'only causal models are supported').optional(),
  qk_ln: z.literal(false, 'transformers does not norm queries and keys here').optional(),
  attn_uses_sequence_id: z.literal(false, 'sequences are not packed').optional(),
  alibi: z.literal(true, 'transformers knows no MPT without ALiBi').optional(),
  // For StoryWriter, of 16: with the key ignored, its logits are those of transformers.
  alibi_bias_max: z
    .literal(8, 'transformers takes 8 whatever the file says, which is not how the model was trained')
    .optional(),
});

/** MPT (MosaicML NLP Team 2023): ALiBi, no biases anywhere, not in norms either, and in some models queries, keys and values that are clipped. */
export const mpt = family({
  modelType: 'mpt',

  keys: {
    vocab_size: count.default(50368),
    hidden_size: count.default(2048),
    num_hidden_layers: layerCount.default(24),
    num_attention_heads: count.default(16),
    max_position_embeddings: count.default(2048),
    attn_config: attentionKeys.nullish(),
    layer_norm_epsilon: eps.default(1e-5),
    tie_word_embeddings: flag.default(true),
    // What the code that trained it could do otherwise, and transformers cannot.
    expansion_ratio: z
      .literal(4, 'transformers makes the feed-forward layers four times as wide as the model')
      .optional(),
    logit_scale: z.null('transformers does not scale the logits').optional(),
    no_bias: z.literal(true, 'transformers gives it no biases').optional(),
    norm_type: z.enum(['low_precision_layernorm', 'layernorm']).optional(),
    learned_pos_emb: anything, // without effect where there is ALiBi
    auto_map: codeTakenOver('mpt'),
    // Training, and bookkeeping.
    emb_pdrop: anything,
    embedding_fraction: anything,
    init_config: anything,
    init_device: anything,
    tokenizer_name: anything,
    verbose: anything,
  },
  spelling: {
    hidden_size: 'd_model',
    max_position_embeddings: 'max_seq_len',
    num_attention_heads: 'n_heads',
    num_hidden_layers: 'n_layers',
  },

  configure(keys, origin) {
    const { clip_qkv, softmax_scale } = keys.attn_config ?? {};
    const norm = layerNorm(keys.layer_norm_epsilon, { bias: false });
    const heads = headsOf(keys, origin);
    const alibi = { slopes: alibiSlopes(heads.queryHeads), form: 'distance', factor: 1 } as const;
    const each = layer(norm, {
      attention: grouped(heads, null, {
        alibi,
        scoreStores: { product: true, scaled: true, biased: false },
        clip: clip_qkv || null, // 0: not at all
        ...(softmax_scale && { scale: softmax_scale }),
      }),
      feedForward: plain(4 * keys.hidden_size, 'gelu', false),
    });
    return uniform(keys, each, norm, origin);
  },

  names: prefixed('transformer.', {
    ...GPT_NAMES,
    layers: 'blocks',
    finalNorm: 'norm_f',
    attentionNorms: { input: 'norm_1' },
    attention: { packed: 'attn.Wqkv', order: 'by-part', output: 'attn.out_proj' },
    feedForwardNorms: { input: 'norm_2' },
    feedForward: { dense: { up: 'ffn.up_proj', down: 'ffn.down_proj' } },
  }),
});
