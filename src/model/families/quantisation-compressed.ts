/**
 * What llm-compressor writes (`quant_method: compressed-tensors`), as far as a weight is one 8-bit code for each value: floats and symmetric integers.
 * They are read as code x scale in float32, which is what kernels compute that scale the sums; the format's own package rounds the product to the dtype of
 * the scale, often bfloat16.
 */
import { z } from 'zod';
import { CheckpointError } from '../../errors.js';
import type { Quantisation, ScaleSpan } from '../quantisation.js';
import { anything, count } from './common.js';
import { unusedScales } from './quantisation-unused.js';

const weights = z.strictObject({
  num_bits: z.literal(8, 'only 8-bit weights are supported').default(8),
  type: z.enum(['float', 'int']).default('int'),
  symmetric: z.literal(true, 'only symmetric weights are supported').default(true),
  strategy: z.enum(['tensor', 'channel', 'block'], 'only tensor, channel and block are supported').nullish(),
  block_structure: z.tuple([count, count]).nullish(),
  dynamic: z.literal(false).default(false),
  group_size: z.null().optional(),
  actorder: z.null().optional(),
  observer: anything,
  observer_kwargs: anything,
  scale_dtype: anything,
  zp_dtype: anything,
});

const group = z.strictObject({
  targets: z.array(z.string()),
  weights: weights.nullish(),
  input_activations: anything,
  output_activations: anything,
  format: z.string().nullish(),
});

/** A transform would change what a layer computes. */
const none = z.union([z.null(), z.strictObject({})]).optional();
const FORMATS = ['float-quantized', 'int-quantized', 'naive-quantized', 'dense', 'mixed-precision'];

const keys = {
  quant_method: z.literal('compressed-tensors'),
  config_groups: z.record(z.string(), group),
  format: z.enum(FORMATS, `format must be one of ${FORMATS.join(', ')}`).nullish(),
  kv_cache_scheme: anything,
  sparsity_config: z.union([none, z.looseObject({ format: z.literal('dense') })]),
  transform_config: none,
  ignore: z.array(z.string()).nullish(),
  quantization_status: anything,
  global_compression_ratio: anything,
  version: anything,
  provider: anything,
};

type Keys = z.output<z.ZodObject<typeof keys>>;

export const compressedTensors = {
  keys,
  read({ config_groups: groups, kv_cache_scheme: cache }: Keys, file: string): Quantisation {
    const all = Object.values(groups);
    const own = all.flatMap((one) => (one.weights ? [one.weights] : []));
    return {
      kind: 'scaled',
      method: 'compressed-tensors',
      codes: own.some(({ type }) => type === 'int') ? ['F8_E4M3', 'F8_E5M2', 'I8'] : ['F8_E4M3', 'F8_E5M2'],
      spans: own.map((one) => spanOf(one, file)),
      suffixes: ['_scale'],
      unused: unusedScales({
        activations: all.some(({ input_activations: given }) => given != null),
        cache: cache != null || all.some(({ output_activations: given }) => given != null),
      }),
    };
  },
};

function spanOf({ strategy, block_structure: block }: z.output<typeof weights>, file: string): ScaleSpan {
  if (strategy === 'tensor' || strategy == null) return { kind: 'tensor' };
  if (strategy === 'channel') return { kind: 'row' };
  if (block) return { kind: 'block', rows: block[0], columns: block[1] };
  throw new CheckpointError(`${file}: quantization_config has the strategy block, and no block_structure.`);
}
