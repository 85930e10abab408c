import { z } from 'zod';
import type { FeedForwardConfig, ModelConfig } from '../config.js';
import type { DecoderNames } from './bind.js';
import { activation, anything, count, factor, flag } from './common.js';
import { decoder, decoderKeys, gated, layer, layersOf, rms } from './decoder.js';
import { expertCount, routed } from './experts.js';
import { family } from './family.js';
import { deepSeekExperts, LATENT_NAMES, latentKeys, latentOf, some } from './latent.js';
import { yarnScoreFactor } from './rope-config.js';

const keys = {
  ...decoderKeys,
  ...latentKeys,
  hidden_act: activation.default('silu'),
  max_position_embeddings: count.default(4096),
  attention_bias: flag.default(false),
  rope_interleave: flag.default(true),
  first_k_dense_replace: some.default(3),
  moe_intermediate_size: count,
  n_routed_experts: expertCount,
  n_shared_experts: count.default(1),
  num_experts_per_tok: count.default(8),
  n_group: count.default(8),
  topk_group: count.default(4),
  norm_topk_prob: flag.default(true),
  routed_scaling_factor: factor.default(2.5),
  num_nextn_predict_layers: some.default(0),
  // What the published files say, and transformers takes for granted.
  moe_layer_freq: z.literal(1).optional(),
  scoring_func: z.literal('sigmoid').optional(),
  topk_method: z.literal('noaux_tc').optional(),
  // Training, and how the work is spread.
  aux_loss_alpha: anything,
  ep_size: anything,
  output_router_logits: anything,
  pretraining_tp: anything,
  seq_aux: anything,
};

type Keys = z.output<z.ZodObject<typeof keys>>;

/** The norms inside attention keep this, whatever rms_norm_eps says (`DeepseekV3Attention` of transformers). */
const LATENT_NORM_EPS = 1e-6;

/** DeepSeek-V3 (DeepSeek-AI 2024): multi-head latent attention, and after some dense layers experts with a shared one. */
export const deepseekV3 = family({
  modelType: 'deepseek_v3',
  keys,

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const pairs = keys.rope_interleave ? 'interleaved' : 'half-split';
    const scaleFactor = yarnScoreFactor(keys);
    const attention = latentOf(keys, { pairs, norm: rms(LATENT_NORM_EPS), scaleFactor }, origin);
    const dense = gated(keys.intermediate_size, keys.hidden_act);
    const experts = expertsOf(keys, origin.file);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention,
        attentionBias: { qkv: keys.attention_bias, output: keys.attention_bias },
        feedForward: i < keys.first_k_dense_replace ? dense : experts,
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: namesFor,
});

function expertsOf(keys: Keys, file: string): FeedForwardConfig {
  return routed(
    {
      count: keys.n_routed_experts,
      perToken: keys.num_experts_per_tok,
      router: {
        kind: 'grouped-sigmoid',
        groups: keys.n_group,
        groupsPerToken: keys.topk_group,
        normalise: keys.norm_topk_prob,
        scale: keys.routed_scaling_factor,
      },
      expert: gated(keys.moe_intermediate_size, keys.hidden_act),
      shared: gated(keys.moe_intermediate_size * keys.n_shared_experts, keys.hidden_act),
    },
    file,
    { count: 'n_routed_experts', perToken: 'num_experts_per_tok', groups: 'n_group', groupsPerToken: 'topk_group' },
  );
}

/** The layers of multi-token prediction stand after those of the model, and no logit needs them. */
function namesFor({ layers }: ModelConfig): DecoderNames {
  return {
    ...LATENT_NAMES,
    feedForward: {
      ...LATENT_NAMES.feedForward,
      experts: { ...deepSeekExperts, correction: 'mlp.gate.e_score_correction_bias' },
    },
    ignored: (name) => Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? 0) >= layers.length,
  };
}
