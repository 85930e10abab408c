import { type DecoderNames, prefixed } from './bind.js';
import { activation, anything, count, eps, flag, layerCount } from './common.js';
import { bothBiases, grouped, headsOf, layer, layerNorm, plain, uniform } from './decoder.js';
import { family } from './family.js';
import { GPT_NAMES } from './gpt.js';
import { ropeKeys, ropeOf } from './rope-config.js';

const NAMES: DecoderNames = {
  ...GPT_NAMES,
  embedding: 'embed_in',
  layers: 'layers',
  finalNorm: 'final_layer_norm',
  attentionNorms: { input: 'input_layernorm' },
  attention: { packed: 'attention.query_key_value', order: 'by-group', output: 'attention.dense' },
  feedForwardNorms: { input: 'post_attention_layernorm' },
  feedForward: { dense: { up: 'mlp.dense_h_to_4h', down: 'mlp.dense_4h_to_h' } },
  ignored: (name) => /\.attention\.((masked_)?bias|rotary_emb\.inv_freq)$/.test(name),
};

/**
 * GPT-NeoX (Black et al. 2022, "GPT-NeoX-20B"; Biderman et al. 2023, "Pythia"): attention and feed-forward side by side, each after a norm of its
 * own, and rope on a part of each head.
 */
export const gptNeox = family({
  modelType: 'gpt_neox',

  keys: {
    ...ropeKeys,
    vocab_size: count.default(50432),
    hidden_size: count.default(6144),
    num_hidden_layers: layerCount.default(44),
    num_attention_heads: count.default(64),
    intermediate_size: count.default(24576),
    hidden_act: activation.default('gelu'),
    max_position_embeddings: count.default(2048),
    layer_norm_eps: eps.default(1e-5),
    tie_word_embeddings: flag.default(false),
    use_parallel_residual: flag.default(true),
    attention_bias: flag.default(true),
    // Dropout, under the names of the first files.
    attention_probs_dropout_prob: anything,
    hidden_dropout_prob: anything,
  },
  spelling: { rope_theta: 'rotary_emb_base', partial_rotary_factor: 'rotary_pct' },

  configure(keys, origin) {
    const norm = layerNorm(keys.layer_norm_eps);
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, partial: 0.25, context: keys.max_position_embeddings };
    const each = layer(norm, {
      attention: grouped(heads, ropeOf(keys, shape, origin)),
      attentionBias: bothBiases(keys.attention_bias),
      feedForward: plain(keys.intermediate_size, keys.hidden_act, true),
      parallel: keys.use_parallel_residual ? 'own-norms' : null,
      addsBranchesFirst: true,
    });
    return uniform(keys, each, norm, origin);
  },

  // transformers calls the head `lm_head` since its version 5, and still saves `embed_out`.
  names: (config, file) => ({
    ...prefixed('gpt_neox.', NAMES)(config, file),
    head: file.has('lm_head.weight') ? 'lm_head' : 'embed_out',
  }),
});
