import { z } from 'zod';
import type { GroupedConfig } from '../../../attention/strategy/strategy.js';
import type { VisibilityConfig } from '../../../attention/visibility/index.js';
import { validate } from '../../checkpoint/json-file.js';
import type { StoredTensor } from '../../checkpoint/tensor-source.js';
import { CheckpointError } from '../../errors.js';
import type { Linear } from '../../math/linear.js';
import { type Floats, floatsLike } from '../../tensor/tensor.js';
import type { ExpertsConfig, LayerConfig } from '../config.js';
import type { ExpertsWeights, GatedWeights, WeightReader } from '../weights.js';
import { anything, count, flag, inertKeys } from './common.js';
import { bindDecoder, bindGrouped, headsOf, modelOf } from './decoder.js';
import type { Family } from './family.js';
import { ropeKeys, ropeOf } from './rope-config.js';

const layerType = z.enum(['sliding_attention', 'full_attention']);

/** `GptOssConfig` of transformers, with its defaults. */
const schema = z.strictObject({
  ...inertKeys,
  ...ropeKeys,
  model_type: z.literal('gpt_oss'),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count.max(4096),
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullable().default(64),
  hidden_act: z.literal('silu').default('silu'),
  max_position_embeddings: count.default(131072),
  rms_norm_eps: z.number().positive().default(1e-5),
  tie_word_embeddings: flag.default(false),
  attention_bias: flag.default(true),
  sliding_window: count.default(128),
  layer_types: z.array(layerType).nullish(),
  num_local_experts: count.max(65536),
  num_experts_per_tok: count.default(4),
  experts_per_token: count.optional(), // the same again, in the published files
  swiglu_alpha: z.number().positive().default(1.702),
  swiglu_limit: z.number().positive().default(7),
  initial_context_length: anything, // the original context, which rope_scaling has too
  router_aux_loss_coef: anything,
  output_router_logits: anything,
});

type Keys = z.output<typeof schema>;

/** gpt-oss (OpenAI 2025): windows in every other layer, a learned sink for each head, experts with clamped gates and biases. */
export const gptOss: Family = {
  modelType: 'gpt_oss',

  configure(raw, file) {
    const keys = validate(schema, raw, file);
    return modelOf('gpt_oss', keys, layersOf(keys, file));
  },

  bind(config, reader) {
    return bindDecoder(config, reader, ({ attention, attentionBias, feedForward }, name) => {
      const [shape, experts] = [attention as GroupedConfig, feedForward as ExpertsConfig];
      const grouped = bindGrouped(shape, config.width, attentionBias, `${name}.self_attn`, reader);
      return {
        attention: { ...grouped, sinks: reader.vector(`${name}.self_attn.sinks`, shape.queryHeads) },
        feedForward: bindExperts(experts, config.width, `${name}.mlp`, reader),
      };
    });
  },

  keyValueHeads: { key: 'num_key_value_heads', projections: ['k_proj', 'v_proj'] },
};

function layersOf(keys: Keys, file: string): LayerConfig[] {
  checkSizes(keys, file);
  const heads = headsOf(keys, file);
  const shape = { dim: heads.headDim, context: keys.max_position_embeddings, theta: 150000 };
  const rope = ropeOf(withRope(keys), shape, file);
  const window: VisibilityConfig = { kind: 'sliding', window: keys.sliding_window };
  return typesOf(keys).map((type) => ({
    norm: { kind: 'rms', eps: keys.rms_norm_eps },
    attention: { kind: 'grouped', ...heads, scale: 1 / Math.sqrt(heads.headDim), rope },
    attentionBias: keys.attention_bias,
    visibility: type === 'sliding_attention' ? window : { kind: 'causal' },
    feedForward: expertsOf(keys),
  }));
}

function checkSizes(keys: Keys, file: string): void {
  const { num_hidden_layers: layers, num_local_experts: experts, num_experts_per_tok: chosen } = keys;
  const again = keys.experts_per_token ?? chosen;
  const wrong = [
    typesOf(keys).length !== layers &&
      `layer_types has ${typesOf(keys).length} entries, and num_hidden_layers = ${layers}`,
    chosen > experts && `num_experts_per_tok = ${chosen} exceeds num_local_experts = ${experts}`,
    again !== chosen && `experts_per_token = ${again} contradicts num_experts_per_tok = ${chosen}`,
  ].find(Boolean);
  if (wrong) throw new CheckpointError(`${file}: ${wrong}.`);
}

function typesOf({ layer_types: given, num_hidden_layers: layers }: Keys): z.output<typeof layerType>[] {
  return given ?? Array.from({ length: layers }, (_, i) => (i % 2 === 0 ? 'sliding_attention' : 'full_attention'));
}

/** A file that says nothing of rope has yarn. */
function withRope(keys: Keys): Keys {
  if (keys.rope_parameters || keys.rope_scaling) return keys;
  const yarn = { rope_type: 'yarn', factor: 32, beta_fast: 32, beta_slow: 1, truncate: false } as const;
  return { ...keys, rope_parameters: { ...yarn, original_max_position_embeddings: 4096 } };
}

function expertsOf(keys: Keys): ExpertsConfig {
  return {
    kind: 'experts',
    count: keys.num_local_experts,
    perToken: keys.num_experts_per_tok,
    router: { kind: 'top-k-softmax' },
    expert: {
      kind: 'gated',
      width: keys.intermediate_size,
      activation: 'silu',
      clamp: { limit: keys.swiglu_limit, alpha: keys.swiglu_alpha },
      bias: true,
    },
    shared: null,
  };
}

/** All experts in one tensor, inputs before outputs, gate and up taking turns: gate_up_proj [E, D, 2 F], down_proj [E, F, D]. */
function bindExperts(config: ExpertsConfig, width: number, name: string, reader: WeightReader): ExpertsWeights {
  const { count: experts, expert } = config;
  const inner = expert.width;
  const both = reader.source.take(`${name}.experts.gate_up_proj`, [experts, width, 2 * inner]);
  const down = reader.source.take(`${name}.experts.down_proj`, [experts, inner, width]);
  const bothBias = reader.vector(`${name}.experts.gate_up_proj_bias`, [experts, 2 * inner]);
  const downBias = reader.vector(`${name}.experts.down_proj_bias`, [experts, width]);
  return {
    kind: 'experts',
    router: reader.linear(`${name}.router`, experts, width, true),
    correction: null,
    experts: Array.from({ length: experts }, (_, e): GatedWeights => {
      const turn = (offset: number) => ({
        weight: outputsFirst(both, { expert: e, inputs: width, outputs: 2 * inner, offset, step: 2 }),
        bias: everySecond(bothBias.subarray(e * 2 * inner, (e + 1) * 2 * inner), offset),
      });
      const weight = outputsFirst(down, { expert: e, inputs: inner, outputs: width, offset: 0, step: 1 });
      const bias = downBias.subarray(e * width, (e + 1) * width);
      return { kind: 'gated', gate: turn(0), up: turn(1), down: { weight, bias } };
    }),
    shared: null,
  };
}

interface Part {
  readonly expert: number;
  readonly inputs: number;
  readonly outputs: number;
  /** Takes the outputs offset, offset + step, ... */
  readonly offset: number;
  readonly step: number;
}

/** One expert's [inputs, outputs], some of its outputs, as a weight [outputs, inputs]. */
function outputsFirst(
  { name, dtype, bits }: StoredTensor,
  { expert, inputs, outputs, offset, step }: Part,
): Linear['weight'] {
  const rows = outputs / step;
  const from = expert * inputs * outputs;
  const turned = bits.slice(0, rows * inputs);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < inputs; i++) turned[r * inputs + i] = bits[from + i * outputs + offset + r * step]!;
  }
  return { name: `${name}[${expert}]`, dtype, rows, columns: inputs, bits: turned };
}

function everySecond(values: Floats, offset: number): Floats {
  const taken = floatsLike(values, values.length / 2);
  for (let i = 0; i < taken.length; i++) taken[i] = values[2 * i + offset]!;
  return taken;
}
