import { LLAMA_NAMES } from './bind.js';
import { anything, count, eps, factor, flag, some } from './common.js';
import { decoder, decoderKeys, gated, grouped, headsOf, layer, layersOf, rms, separateHeads } from './decoder.js';
import { beyond, CORRECTED_EXPERTS, correctedRouter, deepSeekExpertKeys, deepSeekExperts } from './deepseek-experts.js';
import { expertCount } from './experts.js';
import { family } from './family.js';
import { ropeOf } from './rope-config.js';

/** GLM-4.5 (GLM-4.5 Team 2025): DeepSeek-V3's experts with grouped attention, rope on half of a head, and in the large one norms of queries and keys. */
export const glm4Moe = family({
  modelType: 'glm4_moe',

  keys: {
    ...decoderKeys,
    ...deepSeekExpertKeys,
    num_key_value_heads: count.nullable().default(8),
    max_position_embeddings: count.default(131072),
    rms_norm_eps: eps.default(1e-5),
    attention_bias: flag.default(false),
    use_qk_norm: flag.default(false),
    first_k_dense_replace: some.default(1),
    n_routed_experts: expertCount.default(128),
    n_shared_experts: count.default(1),
    num_experts_per_tok: count.default(8),
    n_group: count.default(1),
    topk_group: count.default(1),
    routed_scaling_factor: factor.default(1),
    num_nextn_predict_layers: anything,
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, context: keys.max_position_embeddings, partial: 0.5 };
    const qkNorm = keys.use_qk_norm ? ({ norm, scope: 'head', place: 'before-rope' } as const) : null;
    const attention = grouped(heads, ropeOf(keys, shape, origin), { qkNorm });
    const dense = gated(keys.intermediate_size, keys.hidden_act);
    const experts = deepSeekExperts(keys, correctedRouter(keys), origin.file);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention,
        attentionBias: { qkv: keys.attention_bias, output: false },
        feedForward: i < keys.first_k_dense_replace ? dense : experts,
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: (config) => ({
    ...LLAMA_NAMES,
    feedForward: { ...LLAMA_NAMES.feedForward, experts: CORRECTED_EXPERTS },
    ignored: beyond(config),
  }),
  keyValueHeads: separateHeads,
});
