import { z } from 'zod';
import type { TemperatureConfig } from '../../../attention/strategy/strategy.js';
import { CheckpointError } from '../../errors.js';
import type { ExpertsConfig, LayerConfig } from '../config.js';
import { type DecoderNames, LLAMA_NAMES } from './bind.js';
import { anything, count, eps, factor, flag, type Origin, some } from './common.js';
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
import { routed } from './experts.js';
import { family } from './family.js';
import { rotatedLayers } from './rope-by-layer.js';
import { ropeOf } from './rope-config.js';
import { layerTypesOf } from './windows.js';

const places = z.array(z.int().nonnegative()).nullish();

const keys = {
  ...decoderKeys,
  num_key_value_heads: count.nullable().default(8),
  head_dim: count.nullable().default(128),
  max_position_embeddings: count.default(4096 * 32),
  rms_norm_eps: eps.default(1e-5),
  attention_bias: flag.default(false),
  intermediate_size_mlp: count.default(16384),
  // Dense models (MobileLLM-R1) have no layers with experts, and 0 for the numbers.
  num_local_experts: some.default(16),
  num_experts_per_tok: some.default(1),
  interleave_moe_layer_step: some.default(1),
  moe_layers: places,
  use_qk_norm: flag.default(true),
  no_rope_layers: places,
  no_rope_layer_interval: count.default(4),
  layer_types: z.array(z.enum(['chunked_attention', 'full_attention'])).nullish(),
  attention_chunk_size: count.nullable().default(8192),
  attn_temperature_tuning: z.union([flag, z.int()]).default(true), // the first files have 4 for true
  floor_scale: factor.default(8192),
  attn_scale: z.number().default(0.1),
  for_llm_compressor: anything,
};

type Keys = z.output<z.ZodObject<typeof keys>>;

const SHARED = 'feed_forward.shared_expert';

const NAMES: DecoderNames = {
  ...LLAMA_NAMES,
  feedForward: {
    dense: { gate: 'feed_forward.gate_proj', up: 'feed_forward.up_proj', down: 'feed_forward.down_proj' },
    experts: {
      router: 'feed_forward.router',
      each: {
        gateUp: 'feed_forward.experts.gate_up_proj',
        down: 'feed_forward.experts.down_proj',
        storage: 'inputs-first',
        order: 'halves',
      },
      shared: { gate: `${SHARED}.gate_proj`, up: `${SHARED}.up_proj`, down: `${SHARED}.down_proj` },
    },
  },
};

/**
 * The text model of Llama 4 (Meta 2025): layers with rope see chunks and norm queries and keys after it; the others see everything without
 * positions, and sharpen their queries as they go on (Nakanishi 2025, "Scalable-Softmax"). Experts take inputs weighed by a sigmoid.
 */
export const llama4Text = family({
  modelType: 'llama4_text',
  keys,

  configure(keys, origin) {
    const norm = rms(keys.rms_norm_eps);
    const heads = headsOf(keys, origin);
    const shape = { dim: heads.headDim, context: keys.max_position_embeddings, theta: 500000 };
    const rope = ropeOf(keys, { ...shape, pairs: 'interleaved', stores: 'once' }, origin);
    const qkNorm = { norm: { ...norm, weight: false }, scope: 'head', place: 'after-rope' } as const;
    const rotated = grouped(heads, rope, { qkNorm: keys.use_qk_norm ? qkNorm : null });
    const unrotated = grouped(heads, null, { temperature: temperatureOf(keys) });
    // An empty list is as good as none.
    const listed = keys.no_rope_layers?.length ? keys.no_rope_layers : null;
    const rotates = rotatedLayers({ ...keys, no_rope_layers: listed }, origin);
    const dense = gated(keys.intermediate_size_mlp, keys.hidden_act);
    const sparse = sparseLayers(keys);
    const experts = sparse.length > 0 ? expertsOf(keys, origin.file) : dense;
    const visibilities = visibilitiesOf(keys, rotates, origin);
    const layers = layersOf(keys.num_hidden_layers, (i) =>
      layer(norm, {
        attention: rotates[i] ? rotated : unrotated,
        attentionBias: bothBiases(keys.attention_bias),
        visibility: visibilities[i]!,
        feedForward: sparse.includes(i) ? experts : dense,
      }),
    );
    return decoder(keys, { layers, finalNorm: norm }, origin);
  },

  names: NAMES,
  keyValueHeads: separateHeads,
});

function visibilitiesOf(keys: Keys, rotates: readonly boolean[], origin: Origin): readonly LayerConfig['visibility'][] {
  const chunk = keys.attention_chunk_size;
  const types = layerTypesOf(keys, origin, (i) => (rotates[i] ? 'chunked_attention' : 'full_attention'));
  return types.map((type) => {
    if (type === 'full_attention') return { kind: 'causal' };
    if (chunk !== null) return { kind: 'chunked', chunk };
    throw new CheckpointError(`${origin.file}: layers with chunked_attention need an attention_chunk_size.`);
  });
}

function temperatureOf(keys: Keys): TemperatureConfig | null {
  if (!keys.attn_temperature_tuning) return null;
  return { floorScale: keys.floor_scale, attentionScale: keys.attn_scale };
}

/** The layers with experts. */
function sparseLayers({ moe_layers: given, interleave_moe_layer_step: step, num_hidden_layers: layers }: Keys) {
  return given ?? Array.from({ length: layers }, (_, i) => i).filter((i) => (i + 1) % step === 0);
}

function expertsOf(keys: Keys, file: string): ExpertsConfig {
  if (keys.num_experts_per_tok < 1) {
    throw new CheckpointError(`${file}: some layers have experts, and num_experts_per_tok = 0.`);
  }
  return routed(
    {
      count: keys.num_local_experts,
      perToken: keys.num_experts_per_tok,
      router: { kind: 'top-k-sigmoid' },
      weighs: 'input',
      expert: gated(keys.intermediate_size, keys.hidden_act),
      shared: { feedForward: gated(keys.intermediate_size, keys.hidden_act), gate: false },
    },
    file,
    { count: 'num_local_experts', perToken: 'num_experts_per_tok' },
  );
}
