import { z } from 'zod';
import { CheckpointError } from '../../errors.js';
import type { ExpertsConfig } from '../config.js';
import { LLAMA_NAMES } from './bind.js';
import { anything, count, flag } from './common.js';
import {
  bothBiases,
  decoder,
  decoderKeys,
  gated,
  grouped,
  headsOf,
  layer,
  layersOf,
  rms,
  separateHeads,
} from './decoder.js';
import { expertCount, isSparse, NUMBERED_EXPERTS, routed, softmaxTopK, sparseKeys } from './experts.js';
import { family } from './family.js';
import { ropeOfHeads } from './rope-config.js';
import { windowed } from './windows.js';

const keys = {
  ...decoderKeys,
  ...sparseKeys,
  num_key_value_heads: count.nullable().default(4),
  max_position_embeddings: count.default(32768),
  attention_bias: flag.default(false),
  use_sliding_window: flag.default(false),
  sliding_window: count.nullable().default(4096),
  max_window_layers: anything, // where there is a window, all layers have it
  num_experts: expertCount.optional(),
  num_local_experts: expertCount.optional(), // what transformers 5 writes for it
  num_experts_per_tok: count.default(8),
  // What some published files say of what is always so.
  qkv_bias: z.literal(false, 'this family has attention_bias').optional(),
  use_qk_norm: z.literal(true, 'queries and keys are always normed in this family').optional(),
  shared_expert_intermediate_size: z.literal(0, 'there are no shared experts in this family').nullish(),
};

type Keys = z.output<z.ZodObject<typeof keys>>;

/** Qwen3-MoE (Qwen Team 2025): experts without a shared one; each head's queries and keys are normed before rope. */
export const qwen3Moe = family({
  modelType: 'qwen3_moe',
  keys,

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const rope = ropeOfHeads(keys, heads, origin);
    const attention = grouped(heads, rope, { qkNorm: { norm, scope: 'head', place: 'before-rope' } });
    const dense = gated(keys.intermediate_size, keys.hidden_act);
    const experts = expertsOf(keys, origin.file);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention,
        attentionBias: bothBiases(keys.attention_bias),
        visibility: windowed(keys.use_sliding_window ? keys.sliding_window : null),
        feedForward: isSparse(keys, i) ? experts : dense,
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: { ...LLAMA_NAMES, feedForward: { ...LLAMA_NAMES.feedForward, experts: NUMBERED_EXPERTS } },
  keyValueHeads: separateHeads,
});

function expertsOf(keys: Keys, file: string): ExpertsConfig {
  const { num_experts: published, num_local_experts: saved = published ?? 128 } = keys;
  if (published !== undefined && published !== saved) {
    throw new CheckpointError(`${file}: num_local_experts = ${saved} contradicts num_experts = ${published}.`);
  }
  return routed(
    {
      count: saved,
      perToken: keys.num_experts_per_tok,
      router: softmaxTopK(keys.norm_topk_prob),
      expert: gated(keys.moe_intermediate_size, keys.hidden_act),
    },
    file,
    { count: 'num_experts', perToken: 'num_experts_per_tok' },
  );
}
