/** DeepSeek's experts as configs describe them, which GLM took over: after some dense layers, with shared ones that all tokens go through. */
import type { Activation } from '../../math/elementwise.js';
import type { ExpertsConfig, ModelConfig, RouterConfig } from '../config.js';
import { LLAMA_NAMES } from './bind.js';
import type { ExpertsNames } from './bind-feed-forward.js';
import { count, factor, flag, some } from './common.js';
import { gated } from './decoder.js';
import { expertCount, NUMBERED_EXPERTS, routed } from './experts.js';

/** Without the defaults, which no two families share. */
export const deepSeekExpertKeys = {
  first_k_dense_replace: some,
  moe_intermediate_size: count,
  n_routed_experts: expertCount,
  n_shared_experts: count,
  num_experts_per_tok: count,
  n_group: count,
  topk_group: count,
  norm_topk_prob: flag.default(true),
  routed_scaling_factor: factor,
};

interface Keys {
  readonly hidden_act: Activation;
  readonly moe_intermediate_size: number;
  readonly n_routed_experts: number;
  readonly n_shared_experts: number;
  readonly num_experts_per_tok: number;
}

interface RouterKeys {
  readonly n_group: number;
  readonly topk_group: number;
  readonly norm_topk_prob: boolean;
  readonly routed_scaling_factor: number;
}

/** Experts that this router chooses from; the shared ones are as wide as all of them side by side. */
export function deepSeekExperts(keys: Keys, router: RouterConfig, file: string, sharedBias = false): ExpertsConfig {
  return routed(
    {
      count: keys.n_routed_experts,
      perToken: keys.num_experts_per_tok,
      router,
      routerStores: 'nothing',
      expert: gated(keys.moe_intermediate_size, keys.hidden_act),
      shared: {
        feedForward: gated(keys.moe_intermediate_size * keys.n_shared_experts, keys.hidden_act, sharedBias),
        gate: false,
      },
    },
    file,
    { count: 'n_routed_experts', perToken: 'num_experts_per_tok', groups: 'n_group', groupsPerToken: 'topk_group' },
  );
}

/** The router of DeepSeek-V3 and of GLM-4.5. */
export function correctedRouter(keys: RouterKeys): RouterConfig {
  return {
    kind: 'grouped-sigmoid',
    groups: keys.n_group,
    groupsPerToken: keys.topk_group,
    normalise: keys.norm_topk_prob,
    scale: keys.routed_scaling_factor,
  };
}

export const DEEPSEEK_EXPERTS: ExpertsNames = {
  ...NUMBERED_EXPERTS,
  shared: {
    gate: 'mlp.shared_experts.gate_proj',
    up: 'mlp.shared_experts.up_proj',
    down: 'mlp.shared_experts.down_proj',
  },
};

export const CORRECTED_EXPERTS: ExpertsNames = { ...DEEPSEEK_EXPERTS, correction: 'mlp.gate.e_score_correction_bias' };

/** Tensors to ignore: the layers of multi-token prediction stand after those of the model, and no logit needs them. */
export function beyond({ layers }: ModelConfig): (name: string) => boolean {
  return (name) => LLAMA_NAMES.ignored(name) || Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? 0) >= layers.length;
}
