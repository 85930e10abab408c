/** Multi-head latent attention as configs describe it (DeepSeek-AI 2024, "DeepSeek-V2"). */
import type { LatentConfig } from '../../../attention/strategy/strategy.js';
import { CheckpointError } from '../../errors.js';
import type { NormConfig } from '../../math/norm.js';
import { type DecoderNames, LLAMA_NAMES } from './bind.js';
import { anything, count, type Origin } from './common.js';
import { rms } from './decoder.js';
import { type RopeKeys, type RopeShape, ropeOf } from './rope-config.js';

export const latentKeys = {
  num_key_value_heads: count.nullish(), // every head has its own key and value
  kv_lora_rank: count,
  q_lora_rank: count.nullish(),
  qk_nope_head_dim: count,
  qk_rope_head_dim: count,
  v_head_dim: count,
  // Derived by transformers, and said again in the file.
  head_dim: anything,
  qk_head_dim: anything,
};

interface Keys extends RopeKeys {
  readonly num_attention_heads: number;
  readonly num_key_value_heads?: number | null | undefined;
  readonly q_lora_rank?: number | null | undefined;
  readonly kv_lora_rank: number;
  readonly qk_nope_head_dim: number;
  readonly qk_rope_head_dim: number;
  readonly v_head_dim: number;
  readonly max_position_embeddings: number;
}

export function latentOf(
  keys: Keys,
  { norm, scaleFactor = 1, ...rope }: Pick<RopeShape, 'pairs' | 'stores'> & { norm: NormConfig; scaleFactor?: number },
  origin: Origin,
): LatentConfig {
  if ((keys.num_key_value_heads ?? keys.num_attention_heads) !== keys.num_attention_heads) {
    throw new CheckpointError(
      `${origin.file}: num_key_value_heads = ${keys.num_key_value_heads} differs from num_attention_heads = ${keys.num_attention_heads}; ` +
        'with a latent every head has a key and a value of its own.',
    );
  }
  const { qk_nope_head_dim: nopeDim, qk_rope_head_dim: ropeDim, max_position_embeddings: context } = keys;
  return {
    kind: 'latent',
    queryHeads: keys.num_attention_heads,
    queryRank: keys.q_lora_rank ?? null,
    latentRank: keys.kv_lora_rank,
    nopeDim,
    ropeDim,
    valueDim: keys.v_head_dim,
    scale: scaleFactor / Math.sqrt(nopeDim + ropeDim),
    rope: ropeOf(keys, { dim: ropeDim, what: 'qk_rope_head_dim', context, ...rope }, origin),
    norm,
  };
}

/** The norms inside attention keep this eps, whatever rms_norm_eps says (`DeepseekV2Attention`, `DeepseekV3Attention`, `MiniCPM3Attention` of transformers). */
export const LATENT_NORM = rms(1e-6);

export const LATENT_NAMES: DecoderNames = {
  ...LLAMA_NAMES,
  attention: { latent: 'self_attn', output: 'self_attn.o_proj' },
};
