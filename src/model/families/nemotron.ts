import { LLAMA_NAMES } from './bind.js';
import { activation, count, eps, flag } from './common.js';
import { bareKeys, bothBiases, grouped, headsOf, layer, layerNorm, plain, separateHeads, uniform } from './decoder.js';
import { family } from './family.js';
import { ropeOf } from './rope-config.js';

/**
 * Nemotron and Minitron (Parmar et al. 2024, "Nemotron-4 15B"): layer norms whose weights are stored less 1, plain feed-forward layers with a squared
 * relu, rope on half a head.
 */
export const nemotron = family({
  modelType: 'nemotron',

  keys: {
    ...bareKeys,
    hidden_act: activation.default('relu2'),
    max_position_embeddings: count.default(4096),
    norm_eps: eps.default(1e-5),
    attention_bias: flag.default(false),
    mlp_bias: flag.default(false),
  },

  configure(keys, origin) {
    const norm = layerNorm(keys.norm_eps, { weightOffset: 1 });
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, partial: 0.5, context: keys.max_position_embeddings };
    const each = layer(norm, {
      attention: grouped(heads, ropeOf(keys, shape, origin)),
      attentionBias: bothBiases(keys.attention_bias),
      feedForward: plain(keys.intermediate_size, keys.hidden_act, keys.mlp_bias),
    });
    return uniform(keys, each, norm, origin);
  },

  names: { ...LLAMA_NAMES, feedForward: { dense: { up: 'mlp.up_proj', down: 'mlp.down_proj' } } },
  keyValueHeads: separateHeads,
});
