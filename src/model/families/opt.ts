import { EACH_STORED } from '../../../attention/scores.js';
import { prefixed } from './bind.js';
import { activation, count, flag, layerCount } from './common.js';
import { bothBiases, branch, grouped, headsOf, layer, layerNorm, plain, uniform } from './decoder.js';
import { family } from './family.js';
import { GPT_NAMES } from './gpt.js';

/** OPT's norms keep this, whatever a config says (`nn.LayerNorm` without another). */
const NORM_EPS = 1e-5;

/**
 * OPT (Zhang et al. 2022): GPT-3's form with relu, and positions whose rows begin at 2. Its model of 350M norms each sum, not each input, and embeds
 * tokens in a width of their own.
 */
export const opt = family({
  modelType: 'opt',

  keys: {
    vocab_size: count.default(50272),
    hidden_size: count.default(768),
    num_hidden_layers: layerCount.default(12),
    num_attention_heads: count.default(12),
    ffn_dim: count.default(3072),
    max_position_embeddings: count.default(2048),
    word_embed_proj_dim: count.nullish(),
    activation_function: activation.default('relu'),
    do_layer_norm_before: flag.default(true),
    /** Models that were made before transformers 4.20.1 end without a norm. */
    _remove_final_layer_norm: flag.default(false),
    enable_bias: flag.default(true),
    layer_norm_elementwise_affine: flag.default(true),
    tie_word_embeddings: flag.default(true),
  },

  configure(keys, origin) {
    const affine = keys.layer_norm_elementwise_affine;
    const norm = layerNorm(NORM_EPS, { weight: affine, bias: affine });
    const normed = branch(keys.do_layer_norm_before ? { inputNorm: norm } : { sumNorm: norm });
    const each = layer(null, {
      attention: grouped(headsOf(keys, origin), null, { scoreStores: { ...EACH_STORED, scalesQueries: true } }),
      attentionBias: bothBiases(keys.enable_bias),
      attentionBranch: normed,
      feedForward: plain(keys.ffn_dim, keys.activation_function, keys.enable_bias),
      feedForwardBranch: normed,
    });
    const finalNorm = keys.do_layer_norm_before && !keys._remove_final_layer_norm ? norm : null;
    const positions = { count: keys.max_position_embeddings, first: 2 };
    const embedding = { width: keys.word_embed_proj_dim ?? keys.hidden_size, positions };
    return uniform(keys, each, finalNorm, origin, { embedding });
  },

  names: prefixed('model.', {
    ...GPT_NAMES,
    embedding: 'decoder.embed_tokens',
    projectIn: 'decoder.project_in',
    positions: 'decoder.embed_positions',
    layers: 'decoder.layers',
    finalNorm: 'decoder.final_layer_norm',
    projectOut: 'decoder.project_out',
    attentionNorms: { input: 'self_attn_layer_norm', sum: 'self_attn_layer_norm' },
    attention: {
      query: 'self_attn.q_proj',
      key: 'self_attn.k_proj',
      value: 'self_attn.v_proj',
      output: 'self_attn.out_proj',
    },
    feedForwardNorms: { input: 'final_layer_norm', sum: 'final_layer_norm' },
    feedForward: { dense: { up: 'fc1', down: 'fc2' } },
    ignored: (name) => /(^|\.)decoder\.version$/.test(name),
  }),
});
