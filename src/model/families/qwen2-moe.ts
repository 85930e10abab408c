import { z } from 'zod';
import type { ExpertsConfig } from '../config.js';
import { LLAMA_NAMES } from './bind.js';
import { count, flag, type Origin } from './common.js';
import { decoder, decoderKeys, gated, grouped, headsOf, layer, layersOf, rms, separateHeads } from './decoder.js';
import { expertCount, isSparse, NUMBERED_EXPERTS, routed, softmaxTopK, sparseKeys } from './experts.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';
import { type AttentionType, attentionTypes, layerTypesOf, visibilitiesOf } from './windows.js';

const keys = {
  ...decoderKeys,
  ...sparseKeys,
  num_key_value_heads: count.nullable().default(16),
  max_position_embeddings: count.default(32768),
  qkv_bias: flag.default(true),
  use_sliding_window: flag.default(false),
  sliding_window: z.int().nonnegative().nullable().default(4096), // 0 or any where there is none
  max_window_layers: z.int().nonnegative().default(28),
  layer_types: attentionTypes,
  num_experts: expertCount.default(60),
  num_experts_per_tok: count.default(4),
  shared_expert_intermediate_size: count.default(5632),
};

type Keys = z.output<z.ZodObject<typeof keys>>;

/** Qwen1.5-MoE and Qwen2-57B-A14B (Qwen Team 2024): many small experts, and one that all tokens share behind a gate of its own. */
export const qwen2Moe = family({
  modelType: 'qwen2_moe',
  keys,

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const dense = gated(keys.intermediate_size, keys.hidden_act);
    const experts = expertsOf(keys, origin.file);
    const window = keys.use_sliding_window ? keys.sliding_window || null : null;
    const visibilities = visibilitiesOf(typesOf(keys, origin), window, origin);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention: grouped(heads, rope),
        attentionBias: { qkv: keys.qkv_bias, output: false },
        visibility: visibilities[i]!,
        feedForward: isSparse(keys, i) ? experts : dense,
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: {
    ...LLAMA_NAMES,
    feedForward: {
      ...LLAMA_NAMES.feedForward,
      experts: {
        ...NUMBERED_EXPERTS,
        shared: {
          gate: 'mlp.shared_expert.gate_proj',
          up: 'mlp.shared_expert.up_proj',
          down: 'mlp.shared_expert.down_proj',
        },
        sharedGate: 'mlp.shared_expert_gate',
      },
    },
  },
  keyValueHeads: separateHeads,
});

/** Without `layer_types`, every other layer below max_window_layers has the window (`Qwen2MoeConfig` of transformers 5). */
function typesOf(keys: Keys, origin: Origin): readonly AttentionType[] {
  return layerTypesOf(keys, origin, (i) =>
    keys.use_sliding_window && i % 2 === 0 && i < keys.max_window_layers ? 'sliding_attention' : 'full_attention',
  );
}

function expertsOf(keys: Keys, file: string): ExpertsConfig {
  return routed(
    {
      count: keys.num_experts,
      perToken: keys.num_experts_per_tok,
      router: softmaxTopK(keys.norm_topk_prob),
      expert: gated(keys.moe_intermediate_size, keys.hidden_act),
      shared: { feedForward: gated(keys.shared_expert_intermediate_size, keys.hidden_act), gate: true },
    },
    file,
    { count: 'num_experts', perToken: 'num_experts_per_tok' },
  );
}
