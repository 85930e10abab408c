/** `quantization_config` of config.json -> how weights are stored. Families have no part in it: scales stand beside weights, whatever these are called. */
import { z } from 'zod';
import { validate } from '../../checkpoint/json-file.js';
import { CheckpointError } from '../../errors.js';
import { deepFreeze } from '../config.js';
import type { Quantisation, ScaleSpan } from '../quantisation.js';
import { anything, count } from './common.js';
import { compressedTensors } from './quantisation-compressed.js';
import { unusedScales } from './quantisation-unused.js';

const names = z.array(z.string()).nullish();
const FLOAT8 = ['F8_E4M3', 'F8_E5M2'] as const;

/**
 * DeepSeek-V3's form (DeepSeek-AI 2024, section 3.3.2), which Qwen3 and others have too, and the one of a scale for each tensor that vLLM's older tools wrote.
 * Which modules are quantised is seen by the dtypes of the file, so lists of names change nothing.
 */
const fp8 = {
  keys: {
    quant_method: z.literal('fp8'),
    activation_scheme: z.enum(['dynamic', 'static']).default('dynamic'),
    fmt: z.enum(['e4m3', 'e5m2']).optional(),
    weight_block_size: z.tuple([count, count]).nullish(),
    scale_fmt: z.enum(['float', 'ue8m0']).nullish(),
    expert_dtype: z.literal('fp8').nullish(),
    modules_to_not_convert: names,
    modules_to_convert: names,
    ignored_layers: names,
    kv_cache_scheme: anything,
    dequantize: anything,
  },
  read(keys: {
    weight_block_size?: [number, number] | null | undefined;
    activation_scheme: string;
    kv_cache_scheme?: unknown;
  }) {
    return {
      kind: 'scaled',
      method: 'fp8',
      codes: FLOAT8,
      spans: spansOf(keys.weight_block_size),
      suffixes: ['_scale_inv', '_scale'], // either is what codes are multiplied by, whatever "inv" says
      unused: unusedScales({ activations: keys.activation_scheme === 'static', cache: keys.kv_cache_scheme != null }),
    } as const;
  },
};

/** A file that says nothing of blocks has 128 x 128 by transformers, and none by vLLM: the shape of its scales tells. */
function spansOf(block: [number, number] | null | undefined): ScaleSpan[] {
  if (block) return [{ kind: 'block', rows: block[0], columns: block[1] }];
  const whole: ScaleSpan[] = [{ kind: 'tensor' }, { kind: 'row' }];
  return block === null ? whole : [...whole, { kind: 'block', rows: 128, columns: 128 }];
}

/** Llama 3.1 405B's form: a scale for each output. */
const fbgemm = {
  keys: { quant_method: z.literal('fbgemm_fp8'), activation_scale_ub: anything, modules_to_not_convert: names },
  read() {
    return {
      kind: 'scaled',
      method: 'fbgemm_fp8',
      codes: FLOAT8,
      spans: [{ kind: 'row' }],
      suffixes: ['_scale'],
      unused: unusedScales({ activations: true, cache: false }),
    } as const;
  },
};

/** gpt-oss's form, of experts alone. */
const mxfp4 = {
  keys: { quant_method: z.literal('mxfp4'), modules_to_not_convert: names, dequantize: anything },
  read: () => ({ kind: 'mxfp4', method: 'mxfp4' }) as const,
};

/** By `quant_method`. */
const METHODS = { fp8, 'compressed-tensors': compressedTensors, fbgemm_fp8: fbgemm, mxfp4 } as const;

/** How the weights of a parsed config.json are stored; null: as they are. @throws CheckpointError for a form that is not supported, naming it */
export function quantisationOf(raw: unknown, file: string): Quantisation | null {
  const outer = z.looseObject({ quantization_config: z.looseObject({ quant_method: z.string() }).nullish() });
  const found = validate(outer, raw, file).quantization_config;
  if (!found) return null;
  const method = found.quant_method;
  const understood = <Shape extends z.ZodRawShape>(keys: Shape) =>
    validate(z.looseObject({ quantization_config: z.strictObject(keys) }), raw, file).quantization_config;
  switch (method) {
    case 'fp8':
      return deepFreeze(fp8.read(understood(fp8.keys)));
    case 'compressed-tensors':
      return deepFreeze(compressedTensors.read(understood(compressedTensors.keys), file));
    case 'fbgemm_fp8':
      understood(fbgemm.keys);
      return deepFreeze(fbgemm.read());
    case 'mxfp4':
      understood(mxfp4.keys);
      return deepFreeze(mxfp4.read());
  }
  throw new CheckpointError(
    `${file}: quantization_config.quant_method = ${JSON.stringify(method)} is not supported; supported are ` +
      `${Object.keys(METHODS).join(', ')}, and weights that are not quantised.`,
  );
}
