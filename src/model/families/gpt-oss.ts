import { z } from 'zod';
import { CheckpointError } from '../../errors.js';
import type { ExpertsConfig } from '../config.js';
import { type DecoderNames, LLAMA_NAMES } from './bind.js';
import { anything, count, factor, flag } from './common.js';
import { bothBiases, decoder, decoderKeys, grouped, headsOf, layer, layersOf, rms, separateHeads } from './decoder.js';
import { expertCount, routed } from './experts.js';
import { family } from './family.js';
import { type RopeKeys, ropeOf } from './rope-config.js';
import { attentionTypes, layerTypesOf, windowed } from './windows.js';

const keys = {
  ...decoderKeys,
  num_key_value_heads: count.nullable().default(8),
  head_dim: count.nullable().default(64),
  hidden_act: z.literal('silu').default('silu'),
  max_position_embeddings: count.default(131072),
  rms_norm_eps: factor.default(1e-5),
  attention_bias: flag.default(true),
  sliding_window: count.default(128),
  layer_types: attentionTypes,
  num_local_experts: expertCount,
  num_experts_per_tok: count.default(4),
  experts_per_token: count.optional(), // the same again, in the published files
  swiglu_alpha: factor.default(1.702),
  swiglu_limit: factor.default(7),
  initial_context_length: anything, // the original context, which rope_scaling has too
};

type Keys = z.output<z.ZodObject<typeof keys>>;

const NAMES: DecoderNames = {
  ...LLAMA_NAMES,
  attention: { ...LLAMA_NAMES.attention, sinks: 'self_attn.sinks' },
  feedForward: {
    ...LLAMA_NAMES.feedForward,
    experts: {
      router: 'mlp.router',
      each: {
        gateUp: 'mlp.experts.gate_up_proj',
        down: 'mlp.experts.down_proj',
        storage: 'inputs-first',
        order: 'turns',
      },
    },
  },
};

/** gpt-oss (OpenAI 2025): windows in every other layer, a learned sink for each head, experts with clamped gates and biases. */
export const gptOss = family({
  modelType: 'gpt_oss',
  keys,

  configure(keys, origin) {
    const again = keys.experts_per_token ?? keys.num_experts_per_tok;
    if (again !== keys.num_experts_per_tok) {
      throw new CheckpointError(
        `${origin.file}: experts_per_token = ${again} contradicts num_experts_per_tok = ${keys.num_experts_per_tok}.`,
      );
    }
    const norm = rms(keys.rms_norm_eps, { stores: 'once' });
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, context: keys.max_position_embeddings, theta: 150000 };
    const attention = grouped(heads, ropeOf(withRope(keys), shape, origin), { sinks: true });
    const types = layerTypesOf(keys, origin, (i) => (i % 2 === 0 ? 'sliding_attention' : 'full_attention'));
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention,
        attentionBias: bothBiases(keys.attention_bias),
        visibility: windowed(types[i] === 'sliding_attention' ? keys.sliding_window : null),
        feedForward: expertsOf(keys, origin.file),
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: NAMES,
  keyValueHeads: separateHeads,
});

/** A file that says nothing of rope has yarn. */
function withRope(keys: RopeKeys): RopeKeys {
  if (keys.rope_parameters || keys.rope_scaling) return keys;
  const yarn = { rope_type: 'yarn', factor: 32, beta_fast: 32, beta_slow: 1, truncate: false } as const;
  return { ...keys, rope_parameters: { ...yarn, original_max_position_embeddings: 4096 } };
}

function expertsOf(keys: Keys, file: string): ExpertsConfig {
  return routed(
    {
      count: keys.num_local_experts,
      perToken: keys.num_experts_per_tok,
      router: { kind: 'top-k-softmax' },
      routerBias: true,
      expert: {
        kind: 'gated',
        width: keys.intermediate_size,
        activation: 'silu',
        clamp: { limit: keys.swiglu_limit, alpha: keys.swiglu_alpha },
        bias: true,
      },
    },
    file,
    { count: 'num_local_experts', perToken: 'num_experts_per_tok' },
  );
}
