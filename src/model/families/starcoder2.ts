import { z } from 'zod';
import { type DecoderNames, LLAMA_NAMES } from './bind.js';
import { activation, anything, count, eps, flag } from './common.js';
import { bareKeys, bothBiases, grouped, headsOf, layer, layerNorm, plain, separateHeads, uniform } from './decoder.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';
import { windowed } from './windows.js';

const NAMES: DecoderNames = {
  ...LLAMA_NAMES,
  feedForward: { dense: { up: 'mlp.c_fc', down: 'mlp.c_proj' } },
};

/** StarCoder 2 (Lozhkov et al. 2024): layer norms, plain feed-forward layers, biases, and a window in all layers. */
export const starcoder2 = family({
  modelType: 'starcoder2',

  keys: {
    ...bareKeys,
    num_key_value_heads: count.default(2),
    hidden_act: activation.default('gelu_pytorch_tanh'),
    max_position_embeddings: count.default(4096),
    norm_epsilon: eps.default(1e-5),
    sliding_window: count.nullish(),
    use_bias: flag.default(true),
    tie_word_embeddings: flag.default(true),
    embedding_dropout: anything,
    residual_dropout: anything,
    // What the published files say besides, of the code they were trained with.
    mlp_type: z.literal('default').optional(),
    norm_type: z.literal('layer_norm').optional(),
    scale_attn_weights: z.literal(true).optional(),
    activation_function: anything, // hidden_act again
    layer_norm_epsilon: anything, // norm_epsilon again
    attention_softmax_in_fp32: anything,
    scale_attention_softmax_in_fp32: anything,
  },

  configure(keys, origin) {
    const norm = layerNorm(keys.norm_epsilon);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const each = layer(norm, {
      attention: grouped(heads, rope),
      attentionBias: bothBiases(keys.use_bias),
      visibility: windowed(keys.sliding_window),
      feedForward: plain(keys.intermediate_size, keys.hidden_act, keys.use_bias),
    });
    return uniform(keys, each, norm, origin);
  },

  names: NAMES,
  keyValueHeads: separateHeads,
});
