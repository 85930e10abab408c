import { z } from 'zod';
import { CheckpointError } from '../../errors.js';
import type { RouterConfig } from '../config.js';
import { anything, codeTakenOver, count, factor, flag, some } from './common.js';
import { bothBiases, decoder, decoderKeys, gated, layer, layersOf, rms } from './decoder.js';
import { DEEPSEEK_EXPERTS, deepSeekExpertKeys, deepSeekExperts } from './deepseek-experts.js';
import { softmaxTopK } from './experts.js';
import { family } from './family.js';
import { LATENT_NAMES, LATENT_NORM, latentKeys, latentOf } from './latent.js';
import { yarnScoreFactor } from './rope-config.js';

const keys = {
  ...decoderKeys,
  ...latentKeys,
  ...deepSeekExpertKeys,
  attention_bias: flag.default(false),
  mlp_bias: flag.default(false),
  q_lora_rank: count.nullable().default(1536),
  first_k_dense_replace: some.default(0),
  n_shared_experts: count.default(2),
  n_group: count.nullish(),
  topk_group: count.nullish(),
  topk_method: z.enum(['greedy', 'group_limited_greedy']).default('greedy'),
  routed_scaling_factor: factor.default(1),
  norm_topk_prob: z
    .literal(
      false,
      "DeepSeek's own code divides the weights then, and transformers never does: neither could be called right",
    )
    .default(false),
  // What the published files say, and transformers takes for granted.
  moe_layer_freq: z.literal(1).optional(),
  scoring_func: z.literal('softmax').optional(),
  // Training, how the work is spread, and the code that came with the model, which transformers has its own of.
  auto_map: codeTakenOver('deepseek'),
  aux_loss_alpha: anything,
  ep_size: anything,
  seq_aux: anything,
};

type Keys = z.output<z.ZodObject<typeof keys>>;

/** DeepSeek-V2 (DeepSeek-AI 2024): multi-head latent attention; experts by softmax, in V2 (not Lite) from the groups whose best is greatest. */
export const deepseekV2 = family({
  modelType: 'deepseek_v2',
  keys,

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const scaleFactor = yarnScoreFactor(keys);
    const attention = latentOf(keys, { pairs: 'interleaved', stores: 'once', norm: LATENT_NORM, scaleFactor }, origin);
    const dense = gated(keys.intermediate_size, keys.hidden_act, keys.mlp_bias);
    // The experts have no biases, whatever mlp_bias says; the shared ones are an MLP like the dense layers.
    const experts = deepSeekExperts(keys, routerOf(keys, origin.file), origin.file, keys.mlp_bias);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention,
        attentionBias: bothBiases(keys.attention_bias),
        feedForward: i < keys.first_k_dense_replace ? dense : experts,
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: { ...LATENT_NAMES, feedForward: { ...LATENT_NAMES.feedForward, experts: DEEPSEEK_EXPERTS } },
});

/** The greedy method takes no notice of groups. */
function routerOf({ topk_method, n_group, topk_group, routed_scaling_factor }: Keys, file: string): RouterConfig {
  const greedy = softmaxTopK(false, routed_scaling_factor);
  if (topk_method === 'greedy') return greedy;
  if (n_group && topk_group) return { ...greedy, groups: n_group, groupsPerToken: topk_group };
  throw new CheckpointError(`${file}: topk_method = "${topk_method}" needs n_group and topk_group.`);
}
