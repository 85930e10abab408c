import { LLAMA_NAMES } from './bind.js';
import { count, eps } from './common.js';
import { decoderKeys, gated, grouped, headsOf, layer, rms, separateHeads, uniform } from './decoder.js';
import { expertCount, routed, softmaxTopK } from './experts.js';
import { family } from './family.js';
import { ropeOf } from './rope-config.js';
import { windowed } from './windows.js';

/** Mixtral (Jiang et al. 2024): Mistral with experts in every layer, weighed by the softmax over all, normalised over the chosen. */
export const mixtral = family({
  modelType: 'mixtral',

  keys: {
    ...decoderKeys,
    num_key_value_heads: count.nullable().default(8),
    max_position_embeddings: count.default(4096 * 32),
    rms_norm_eps: eps.default(1e-5),
    sliding_window: count.nullish(),
    num_local_experts: expertCount.default(8),
    num_experts_per_tok: count.default(2),
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, context: keys.max_position_embeddings, theta: 1e6 };
    const each = layer(norm, {
      attention: grouped(heads, ropeOf(keys, shape, origin)),
      visibility: windowed(keys.sliding_window),
      feedForward: routed(
        {
          count: keys.num_local_experts,
          perToken: keys.num_experts_per_tok,
          router: softmaxTopK(true),
          routerStores: 'logits',
          expert: gated(keys.intermediate_size, keys.hidden_act),
        },
        origin.file,
        { count: 'num_local_experts', perToken: 'num_experts_per_tok' },
      ),
    });
    return uniform(keys, each, norm, origin);
  },

  names: {
    ...LLAMA_NAMES,
    feedForward: {
      ...LLAMA_NAMES.feedForward,
      experts: {
        router: 'block_sparse_moe.gate',
        each: (e) => {
          const expert = `block_sparse_moe.experts.${e}`;
          return { gate: `${expert}.w1`, up: `${expert}.w3`, down: `${expert}.w2` };
        },
      },
    },
  },
  keyValueHeads: separateHeads,
});
