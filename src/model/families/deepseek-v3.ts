import { z } from 'zod';
import { activation, anything, codeTakenOver, count, factor, flag, some } from './common.js';
import { bothBiases, decoder, decoderKeys, gated, layer, layersOf, rms } from './decoder.js';
import { beyond, CORRECTED_EXPERTS, correctedRouter, deepSeekExpertKeys, deepSeekExperts } from './deepseek-experts.js';
import { family } from './family.js';
import { LATENT_NAMES, LATENT_NORM, latentKeys, latentOf } from './latent.js';
import { yarnScoreFactor } from './rope-config.js';

/** DeepSeek-V3 (DeepSeek-AI 2024): multi-head latent attention, and after some dense layers experts with a shared one. */
export const deepseekV3 = family({
  modelType: 'deepseek_v3',

  keys: {
    ...decoderKeys,
    ...latentKeys,
    ...deepSeekExpertKeys,
    hidden_act: activation.default('silu'),
    max_position_embeddings: count.default(4096),
    attention_bias: flag.default(false),
    q_lora_rank: count.nullable().default(1536),
    rope_interleave: flag.default(true),
    first_k_dense_replace: some.default(3),
    n_shared_experts: count.default(1),
    num_experts_per_tok: count.default(8),
    n_group: count.default(8),
    topk_group: count.default(4),
    routed_scaling_factor: factor.default(2.5),
    num_nextn_predict_layers: some.default(0),
    // What the published files say, and transformers takes for granted.
    moe_layer_freq: z.literal(1).optional(),
    scoring_func: z.literal('sigmoid').optional(),
    topk_method: z.literal('noaux_tc').optional(),
    // Training, how the work is spread, and the code that came with the model, which transformers has its own of.
    auto_map: codeTakenOver('deepseek'),
    aux_loss_alpha: anything,
    ep_size: anything,
    seq_aux: anything,
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const pairs = keys.rope_interleave ? 'interleaved' : 'half-split';
    const attention = latentOf(keys, { pairs, norm: LATENT_NORM, scaleFactor: yarnScoreFactor(keys) }, origin);
    const dense = gated(keys.intermediate_size, keys.hidden_act);
    const experts = deepSeekExperts(keys, correctedRouter(keys), origin.file);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention,
        attentionBias: bothBiases(keys.attention_bias),
        feedForward: i < keys.first_k_dense_replace ? dense : experts,
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: (config) => ({
    ...LATENT_NAMES,
    feedForward: { ...LATENT_NAMES.feedForward, experts: CORRECTED_EXPERTS },
    ignored: beyond(config),
  }),
});
