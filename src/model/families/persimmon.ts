import { CheckpointError } from '../../errors.js';
import { type DecoderNames, LLAMA_NAMES } from './bind.js';
import { activation, count, eps, flag, layerCount } from './common.js';
import { bothBiases, grouped, headsOf, layer, layerNorm, plain, uniform } from './decoder.js';
import { family } from './family.js';
import { ropeKeys, ropeOf } from './rope-config.js';

const NAMES: DecoderNames = {
  ...LLAMA_NAMES,
  finalNorm: 'model.final_layernorm',
  attention: {
    packed: 'self_attn.query_key_value',
    order: 'by-group',
    output: 'self_attn.dense',
    queryNorm: 'self_attn.q_layernorm',
    keyNorm: 'self_attn.k_layernorm',
  },
  feedForward: { dense: { up: 'mlp.dense_h_to_4h', down: 'mlp.dense_4h_to_h' } },
};

/** Persimmon (Elsen et al. 2023, "Releasing Persimmon-8B"): a layer norm of each query and key head, rope on half a head, a squared relu, biases everywhere. */
export const persimmon = family({
  modelType: 'persimmon',

  keys: {
    ...ropeKeys,
    vocab_size: count.default(262144),
    hidden_size: count.default(4096),
    intermediate_size: count.default(16384),
    num_hidden_layers: layerCount.default(36),
    num_attention_heads: count.default(64),
    num_key_value_heads: count.nullish(), // the published file has it, and transformers does not read it
    hidden_act: activation.default('relu2'),
    max_position_embeddings: count.default(16384),
    layer_norm_eps: eps.default(1e-5),
    tie_word_embeddings: flag.default(false),
    qk_layernorm: flag.default(true),
  },

  configure(keys, origin) {
    const heads = headsOf(keys, origin);
    if (heads.keyValueHeads !== heads.queryHeads) {
      throw new CheckpointError(
        `${origin.file}: num_key_value_heads = ${heads.keyValueHeads} differs from num_attention_heads = ${heads.queryHeads}; ` +
          'in this family every head has keys and values of its own.',
      );
    }
    const norm = layerNorm(keys.layer_norm_eps);
    const shape = { dim: heads.headDim, partial: 0.5, context: keys.max_position_embeddings };
    const qkNorm = keys.qk_layernorm ? ({ norm, scope: 'head', place: 'before-rope' } as const) : null;
    const each = layer(norm, {
      attention: grouped(heads, ropeOf(keys, shape, origin), { qkNorm }),
      attentionBias: bothBiases(true),
      feedForward: plain(keys.intermediate_size, keys.hidden_act, true),
    });
    return uniform(keys, each, norm, origin);
  },

  names: NAMES,
});
