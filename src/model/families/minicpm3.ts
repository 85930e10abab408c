import { codeTakenOver, count, eps, factor, flag } from './common.js';
import { bothBiases, branch, decoderKeys, gated, layer, rms, uniform } from './decoder.js';
import { family } from './family.js';
import { LATENT_NAMES, LATENT_NORM, latentKeys, latentOf } from './latent.js';
import { yarnScoreFactor } from './rope-config.js';

/**
 * MiniCPM3 (OpenBMB 2024, model card; the factors are those of Hu et al. 2024, "MiniCPM", section 4): multi-head latent attention; what is embedded, what a
 * part adds, and what the head reads are scaled so that small and large models train alike.
 */
export const minicpm3 = family({
  modelType: 'minicpm3',

  keys: {
    ...decoderKeys,
    ...latentKeys,
    kv_lora_rank: count.default(256),
    q_lora_rank: count.nullable().default(768),
    qk_nope_head_dim: count.default(64),
    qk_rope_head_dim: count.default(32),
    v_head_dim: count.nullish(),
    max_position_embeddings: count.default(32768),
    rms_norm_eps: eps.default(1e-5),
    attention_bias: flag.default(false),
    mlp_bias: flag.default(false),
    tie_word_embeddings: flag.default(true),
    scale_emb: factor.default(12),
    scale_depth: factor.nullable().default(1.4),
    dim_model_base: factor.nullable().default(256),
    auto_map: codeTakenOver('minicpm'),
  },

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const dims = { ...keys, v_head_dim: keys.v_head_dim ?? Math.floor(keys.hidden_size / keys.num_attention_heads) };
    const rotation = { pairs: 'half-split', scaleFactor: yarnScoreFactor(keys) } as const;
    const scale = keys.scale_depth === null ? 1 : keys.scale_depth / Math.sqrt(keys.num_hidden_layers);
    const scaled = branch({ inputNorm: norm, scale });
    const each = layer(norm, {
      attention: latentOf(dims, { ...rotation, norm: LATENT_NORM }, origin),
      attentionBias: bothBiases(keys.attention_bias),
      feedForward: gated(keys.intermediate_size, keys.hidden_act, keys.mlp_bias),
      attentionBranch: scaled,
      feedForwardBranch: scaled,
    });
    const embedding = { scale: keys.scale_emb, scaleIsTensor: true };
    const head = { scale: (keys.dim_model_base ?? keys.hidden_size) / keys.hidden_size, scalesHidden: true };
    return uniform(keys, each, norm, origin, { embedding, head });
  },

  names: LATENT_NAMES,
});
