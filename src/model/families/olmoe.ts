import { LLAMA_NAMES } from './bind.js';
import { count, eps, factor, flag } from './common.js';
import { bothBiases, decoderKeys, gated, grouped, headsOf, layer, rms, separateHeads, uniform } from './decoder.js';
import { expertCount, NUMBERED_EXPERTS, routed, softmaxTopK } from './experts.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';

/** OLMoE (Muennighoff et al. 2024): experts in every layer; all query heads are normed as one row, and all key heads. */
export const olmoe = family({
  modelType: 'olmoe',

  keys: {
    ...decoderKeys,
    max_position_embeddings: count.default(4096),
    rms_norm_eps: eps.default(1e-5),
    attention_bias: flag.default(false),
    clip_qkv: factor.nullish(),
    num_experts: expertCount.default(64),
    num_experts_per_tok: count.default(8),
    norm_topk_prob: flag.default(false),
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const each = layer(norm, {
      attention: grouped(heads, rope, {
        qkNorm: { norm, scope: 'heads-together', place: 'before-rope' },
        clip: keys.clip_qkv ?? null,
      }),
      attentionBias: bothBiases(keys.attention_bias),
      feedForward: routed(
        {
          count: keys.num_experts,
          perToken: keys.num_experts_per_tok,
          router: softmaxTopK(keys.norm_topk_prob),
          expert: gated(keys.intermediate_size, keys.hidden_act),
        },
        origin.file,
        { count: 'num_experts', perToken: 'num_experts_per_tok' },
      ),
    });
    return uniform(keys, each, norm, origin);
  },

  names: { ...LLAMA_NAMES, feedForward: { ...LLAMA_NAMES.feedForward, experts: NUMBERED_EXPERTS } },
  keyValueHeads: separateHeads,
});
