import { z } from 'zod';
import type { Activation } from '../../math/elementwise.js';
import { LLAMA_NAMES } from './bind.js';
import { activation, count, flag } from './common.js';
import { bothBiases, decoderKeys, gated, grouped, headsOf, layer, rms, separateHeads, uniform } from './decoder.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';

/** Keys of all Gemmas, without the activation, which each generation calls by another name. */
export const gemmaKeys = {
  ...decoderKeys,
  num_key_value_heads: count.default(16),
  head_dim: count.default(256),
  max_position_embeddings: count.default(8192),
  tie_word_embeddings: flag.default(true),
  attention_bias: flag.default(false),
  use_bidirectional_attention: z.literal(false, 'only attention to earlier tokens is supported').nullish(),
};

/** Gemma's norms learn how far their weights lie from 1. */
export const gemmaNorm = ({ rms_norm_eps }: { rms_norm_eps: number }) =>
  rms(rms_norm_eps, { weightOffset: 1, stores: 'once' });

/** Gemma's tokens are multiplied by the square root of the width. */
export const gemmaEmbedding = ({ hidden_size }: { hidden_size: number }) => ({
  scale: Math.sqrt(hidden_size),
  scaleIsTensor: true,
});

/** Gemma (Gemma Team 2024): Llama with a gate of GELU, heads wider than D / H, a tied head, and norms around 1. */
export const gemma = family({
  modelType: 'gemma',

  keys: {
    ...gemmaKeys,
    hidden_act: activation.default('gelu_pytorch_tanh'),
    // What the later files say beside hidden_act, which transformers no longer reads.
    hidden_activation: z.literal('gelu_pytorch_tanh').nullish(),
  },

  configure(keys, origin) {
    const norm = gemmaNorm(keys);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const each = layer(norm, {
      attention: grouped(heads, rope),
      attentionBias: bothBiases(keys.attention_bias),
      feedForward: gated(keys.intermediate_size, trained(keys.hidden_act)),
    });
    return uniform(keys, each, norm, origin, { embedding: gemmaEmbedding(keys) });
  },

  names: LLAMA_NAMES,
  keyValueHeads: separateHeads,
});

/** The first files say gelu, and were trained with its approximation (`GemmaConfig` of transformers). */
function trained(activation: Activation): Activation {
  return activation === 'gelu' ? 'gelu_pytorch_tanh' : activation;
}
