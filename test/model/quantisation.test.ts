/** Weights in codes and scales: what is read, what is refused, and with which sentence. */
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/safetensors/write.js';
import { TensorSource } from '../../src/checkpoint/tensor-source.js';
import { CheckpointError } from '../../src/errors.js';
import { convertHeads } from '../../src/model/convert-heads.js';
import { quantisationOf } from '../../src/model/families/quantisation-config.js';
import { loadModel } from '../../src/model/load.js';
import { inspect } from '../../src/reference/inspect.js';
import { float8s, roundTo8 } from '../../src/tensor/dtype.js';
import { type Matrix, widenInto } from '../../src/tensor/matrix.js';
import { copyOf, editJson } from '../support/checkpoint.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';

const BLOCK = 'families/llama-fp8-block';
const CHANNEL = 'families/llama-fp8-channel';
const WHOLE = 'families/qwen3-fp8-e5m2';
const MXFP4 = 'families/gpt-oss-mxfp4';
const QUERY = 'model.layers.0.self_attn.q_proj.weight';

function tensorsOf(folder: string): TensorToWrite[] {
  const source = new TensorSource(folder);
  try {
    return source.entries().map(({ name, dtype, shape }) => {
      return { name, dtype, shape, data: new Uint8Array(source.takeBytes(name)) };
    });
  } finally {
    source.close();
  }
}

/** A copy of a fixture with other tensors, or other keys. */
function changed(
  name: string,
  tensors: (all: TensorToWrite[]) => TensorToWrite[],
  config: (raw: Record<string, unknown>) => Record<string, unknown> = (raw) => raw,
): string {
  const folder = copyOf(name);
  writeSafetensors(join(folder, 'model.safetensors'), tensors(tensorsOf(folder)));
  editJson(join(folder, 'config.json'), config);
  return folder;
}

const without = (name: string) => (all: TensorToWrite[]) => all.filter((tensor) => tensor.name !== name);
const replaced = (name: string, change: (tensor: TensorToWrite) => Partial<TensorToWrite>) => (all: TensorToWrite[]) =>
  all.map((tensor) => (tensor.name === name ? { ...tensor, ...change(tensor) } : tensor));
const with_ =
  (...more: TensorToWrite[]) =>
  (all: TensorToWrite[]) => [...all, ...more];

function refusal(load: () => unknown): string {
  try {
    load();
  } catch (error) {
    expect(error).toBeInstanceOf(CheckpointError);
    return (error as Error).message;
  }
  throw new Error('expected a refusal');
}

function numbers(matrix: Matrix): Float64Array {
  const wide = new Float64Array(matrix.rows * matrix.columns);
  widenInto(wide, matrix, 0, wide.length);
  return wide;
}

const queryOf = (folder: string) => {
  const { attention } = loadModel(folder).weights.layers[0]!;
  return attention.kind === 'grouped' ? attention.query.weight : expect.unreachable('grouped attention');
};

describe('quantization_config', () => {
  const read = (config: object) => quantisationOf({ quantization_config: config }, 'config.json');
  const weights = { num_bits: 8, type: 'float', symmetric: true, strategy: 'channel' };
  const groups = (own: object) => ({
    quant_method: 'compressed-tensors',
    config_groups: { group_0: { targets: ['Linear'], weights: { ...weights, ...own } } },
  });

  it.each<[string, object]>([
    ['gptq', { quant_method: 'gptq', bits: 4, group_size: 128 }],
    ['awq', { quant_method: 'awq', bits: 4 }],
    ['bitsandbytes', { quant_method: 'bitsandbytes', load_in_4bit: true }],
  ])('refuses %s, and says what is supported', (method, config) => {
    expect(refusal(() => read(config))).toBe(
      `config.json: quantization_config.quant_method = "${method}" is not supported; supported are fp8, ` +
        'compressed-tensors, fbgemm_fp8, mxfp4, and weights that are not quantised.',
    );
  });

  it.each<[string, object, string]>([
    ['no method', { bits: 4 }, 'the key quantization_config.quant_method is missing'],
    [
      'an unknown key',
      { quant_method: 'fp8', rotation: 1 },
      'the key quantization_config.rotation = 1 is not understood',
    ],
    [
      '4-bit experts',
      { quant_method: 'fp8', expert_dtype: 'fp4' },
      'quantization_config.expert_dtype = "fp4" is not valid',
    ],
    ['blocks of nothing', { quant_method: 'fp8', weight_block_size: [128, 0] }, 'weight_block_size.1 = 0 is not valid'],
    ['4 bits', groups({ num_bits: 4 }), 'weights.num_bits = 4 is not valid: only 8-bit weights are supported'],
    ['zero points', groups({ symmetric: false }), 'symmetric = false is not valid: only symmetric weights'],
    ['groups', groups({ strategy: 'group', group_size: null }), 'strategy = "group" is not valid: only tensor'],
    ['packed weights', { ...groups({}), format: 'pack-quantized' }, 'format = "pack-quantized" is not valid'],
    ['a rotation', { ...groups({}), transform_config: { R1: {} } }, 'transform_config.R1 = {} is not understood'],
    ['sparse weights', { ...groups({}), sparsity_config: { format: 'sparse-24-bitmask' } }, 'sparsity_config'],
    ['blocks of no size', groups({ strategy: 'block' }), 'the strategy block, and no block_structure'],
  ])('refuses %s', (_, config, message) => {
    expect(refusal(() => read(config))).toContain(message);
  });

  it('is read in the forms of published files', () => {
    const spans = (config: object) => {
      const found = read(config);
      return found?.kind === 'scaled' ? found.spans : found;
    };
    const deepseek = { activation_scheme: 'dynamic', fmt: 'e4m3', quant_method: 'fp8', weight_block_size: [128, 128] };
    expect(spans(deepseek)).toEqual([{ kind: 'block', rows: 128, columns: 128 }]);
    const older = { quant_method: 'fp8', activation_scheme: 'static', ignored_layers: ['lm_head'] };
    expect(spans(older)).toEqual([{ kind: 'tensor' }, { kind: 'row' }, { kind: 'block', rows: 128, columns: 128 }]);
    const llama405 = { activation_scale_ub: 1200.0, modules_to_not_convert: ['lm_head'], quant_method: 'fbgemm_fp8' };
    expect(spans(llama405)).toEqual([{ kind: 'row' }]);
    expect(spans(groups({ strategy: 'block', block_structure: [64, 32] }))).toEqual([
      { kind: 'block', rows: 64, columns: 32 },
    ]);
    expect(quantisationOf({ quantization_config: null }, 'config.json')).toBe(null);
    expect(quantisationOf({}, 'config.json')).toBe(null);
  });
});

describe('scales', () => {
  it.each<[string, string, (all: TensorToWrite[]) => TensorToWrite[], string]>([
    [
      'a missing one',
      BLOCK,
      without(`${QUERY}_scale_inv`),
      `tensor ${QUERY}_scale_inv is missing; expected the scales of ${QUERY}, which is F8_E4M3: config.json has quant_method = "fp8"`,
    ],
    [
      'one of another shape',
      BLOCK,
      replaced(`${QUERY}_scale_inv`, () => ({ shape: [1, 9] })),
      `tensor ${QUERY}_scale_inv has shape [1, 9]; the scales of ${QUERY} [48, 40] have [3, 3] by config.json`,
    ],
    [
      'one of integers',
      BLOCK,
      replaced(`${QUERY}_scale_inv`, () => ({ dtype: 'I16' })),
      `tensor ${QUERY}_scale_inv is I16; scales must be F32, BF16, F16, F64, F8_E8M0, U8`,
    ],
    [
      'one that belongs to nothing',
      BLOCK,
      with_({ name: 'lm_head.weight_scale_inv', dtype: 'F32', shape: [2, 3], data: new Float32Array(6) }),
      'tensor lm_head.weight is BF16 and has scales, lm_head.weight_scale_inv; config.json has quant_method = "fp8", whose scaled weights are F8_E4M3 or F8_E5M2',
    ],
    [
      'one of a weight that there is not',
      BLOCK,
      with_({ name: 'model.norm.weight_scale', dtype: 'F32', shape: [], data: new Float32Array(1) }),
      'tensor model.norm.weight is BF16 and has scales, model.norm.weight_scale',
    ],
    [
      'one of activations where they are dynamic',
      BLOCK,
      with_({ name: QUERY.replace('weight', 'input_scale'), dtype: 'F32', shape: [], data: new Float32Array(1) }),
      'q_proj.input_scale is left over',
    ],
    [
      'a weight of another shape',
      CHANNEL,
      replaced(QUERY, () => ({ shape: [40, 48] })),
      `tensor ${QUERY} has shape [40, 48], and config.json makes it [48, 40]`,
    ],
    ['a weight of integers', CHANNEL, replaced(QUERY, () => ({ dtype: 'I8' })), `tensor ${QUERY} is I8 and has scales`],
  ])('are refused: %s', (_, name, change, message) => {
    expect(refusal(() => loadModel(changed(name, change)))).toContain(message);
  });

  it('of a whole tensor may have one value in any shape', () => {
    const expected = numbers(queryOf(fixture(WHOLE)));
    for (const shape of [[1], [1, 1]]) {
      const folder = changed(
        WHOLE,
        replaced(`${QUERY}_scale_inv`, () => ({ shape })),
      );
      expect(numbers(queryOf(folder))).toEqual(expected);
    }
  });

  it('may have the other name, and be exponents', () => {
    const exponent = changed(WHOLE, (all) => [
      ...without(`${QUERY}_scale_inv`)(all),
      { name: `${QUERY}_scale`, dtype: 'U8', shape: [1], data: Uint8Array.of(125) },
    ]);
    const codes = tensorsOf(exponent).find(({ name }) => name === QUERY)!.data as Uint8Array;
    const values = float8s('F8_E5M2');
    expect(numbers(queryOf(exponent))).toEqual(Float64Array.from(codes, (code) => values[code]! / 4));
    expect(queryOf(exponent).dtype).toBe('BF16');
    const typed = changed(WHOLE, (all) => [
      ...without(`${QUERY}_scale_inv`)(all),
      { name: `${QUERY}_scale_inv`, dtype: 'F8_E8M0', shape: [], data: Uint8Array.of(125) },
    ]);
    expect(numbers(queryOf(typed))).toEqual(numbers(queryOf(exponent)));
  });

  it('of a cache and of activations are no weights, where the config says that there are some', () => {
    const folder = changed(
      CHANNEL,
      (all) => all,
      ({ quantization_config: of, ...raw }) => ({
        ...raw,
        quantization_config: { ...(of as object), kv_cache_scheme: null },
      }),
    );
    expect(refusal(() => loadModel(folder))).toContain('model.layers.0.self_attn.k_scale (and 1 more) is left over');
  });
});

describe('8-bit integers', () => {
  it('are a code for each value, with the scale of its output', () => {
    const codes = Int8Array.from({ length: 48 * 40 }, (_, i) => ((i * 37) % 255) - 127);
    const scales = Float32Array.from({ length: 48 }, (_, i) => 0.001 * (i + 1));
    const folder = changed(
      CHANNEL,
      (all) =>
        all.map((tensor) => {
          if (tensor.name === QUERY) return { ...tensor, dtype: 'I8', data: new Uint8Array(codes.buffer) };
          return tensor.name === `${QUERY}_scale` ? { ...tensor, dtype: 'F32', data: scales } : tensor;
        }),
      (raw) => {
        const of = raw.quantization_config as { config_groups: { group_0: { weights: object } } };
        const { weights } = of.config_groups.group_0;
        const groups = {
          group_0: of.config_groups.group_0,
          group_1: { targets: [], weights: { ...weights, type: 'int' } },
        };
        return { ...raw, quantization_config: { ...of, config_groups: groups } };
      },
    );
    const expected = Float64Array.from(codes, (code, i) => Math.fround(code * scales[Math.floor(i / 40)]!));
    expect(numbers(queryOf(folder))).toEqual(expected);
  });
});

describe('8-bit floats without a config', () => {
  it('are taken at their values, and inspect says so', () => {
    const plain = changed('families/llama-f64', (all) => all);
    const name = 'model.layers.0.mlp.up_proj.weight';
    const values = tensorsOf(plain).find((tensor) => tensor.name === name)!;
    const wide = new Float64Array((values.data as Uint8Array).buffer);
    const codes = Uint8Array.from(wide, (value) => roundTo8('F8_E5M2', Math.fround(value)));
    const folder = changed(
      'families/llama-f64',
      replaced(name, () => ({ dtype: 'F8_E5M2', data: codes })),
    );
    const found = loadModel(folder).weights.layers[0]!.feedForward;
    const table = float8s('F8_E5M2');
    expect(found.kind === 'gated' && numbers(found.up.weight)).toEqual(
      Float64Array.from(codes, (code) => table[code]!),
    );
    expect(inspect(folder).unusual).toContain('1 tensors of 8-bit floats without scales: taken at their values');
    expect(inspect(folder).parameters).toBe(inspect(plain).parameters);
  });
});

describe('experts in MXFP4', () => {
  const GATE_UP = 'model.layers.0.mlp.experts.gate_up_proj';

  it.each<[string, (all: TensorToWrite[]) => TensorToWrite[], string]>([
    [
      'without scales',
      without(`${GATE_UP}_scales`),
      `tensor ${GATE_UP}_scales is missing; expected U8 of shape [4, 64, 1], a part of ${GATE_UP} in MXFP4`,
    ],
    [
      'without blocks',
      without(`${GATE_UP}_blocks`),
      `tensor ${GATE_UP}_blocks is missing; expected U8 of shape [4, 64, 1, 16]`,
    ],
    [
      'of another shape',
      replaced(`${GATE_UP}_blocks`, () => ({ shape: [4, 64, 2, 8] })),
      `tensor ${GATE_UP}_blocks has shape [4, 64, 2, 8], and config.json makes it [4, 64, 1, 16]`,
    ],
    [
      'of another dtype',
      replaced(`${GATE_UP}_scales`, () => ({ dtype: 'I8' })),
      `tensor ${GATE_UP}_scales is I8; MXFP4 is stored as U8`,
    ],
  ])('are refused %s', (_, change, message) => {
    expect(refusal(() => loadModel(changed(MXFP4, change)))).toContain(message);
  });

  it('are refused where the config says nothing of them', () => {
    const folder = changed(
      MXFP4,
      (all) => all,
      ({ quantization_config: _, ...raw }) => raw,
    );
    expect(refusal(() => loadModel(folder))).toContain(`tensor ${GATE_UP} is missing`);
  });

  it('may be plain all the same: the file decides', () => {
    const folder = copyOf('tiny-gpt-oss-bf16');
    const before = JSON.stringify(loadModel(folder).weights.layers[0]!.feedForward);
    editJson(join(folder, 'config.json'), (raw) => ({ ...raw, quantization_config: { quant_method: 'mxfp4' } }));
    expect(JSON.stringify(loadModel(folder).weights.layers[0]!.feedForward)).toBe(before);
  });
});

describe('an inspection', () => {
  it.each<[string, number, string]>([
    // q, k, v, o; gate, up, down; two norms, the last one, embedding and head
    [
      BLOCK,
      2 * 48 * 40 + 2 * 24 * 40 + 3 * 72 * 40 + 3 * 40 + 2 * 32 * 40,
      'quantised (fp8): weights are codes with scales for each 16 x 16; they are used dequantised, and activations as they are',
    ],
    [
      CHANNEL,
      2 * 48 * 40 + 2 * 24 * 40 + 3 * 72 * 40 + 3 * 40 + 2 * 32 * 40,
      'quantised (compressed-tensors): weights are codes with scales for each output; they are used dequantised, and activations as they are',
    ],
    [
      WHOLE,
      2 * 48 * 40 + 2 * 24 * 40 + 3 * 72 * 40 + 3 * 40 + 2 * 12 + 2 * 32 * 40,
      'quantised (fp8): weights are codes with scales for each tensor or for each output; they are used dequantised, and activations as they are',
    ],
    // a layer: q and o, k and v with biases, sinks, router; experts with biases; two norms
    [
      MXFP4,
      2 * (2 * 32 * 32 + 64 + 2 * (16 * 32 + 16) + 4 + 4 * 33 + 4 * (64 * 33 + 32 * 33) + 64) + 32 + 2 * 32 * 32,
      'quantised (mxfp4): experts are 4-bit floats with a scale for each 32; they are used dequantised, and activations as they are',
    ],
  ])('of %s counts weights, and says what they are', (name, parameters, note) => {
    const found = inspect(fixture(name));
    expect(found.parameters).toBe(parameters);
    expect(found.unusual).toContain(note);
  });
});

it('converts no heads of quantised weights, and those of 8-bit floats without scales', () => {
  const out = join(temporaryFolder(), 'out');
  expect(() => convertHeads(fixture(BLOCK), out, 'mqa')).toThrow(
    'its weights are quantised (quant_method = "fp8"), so a mean of heads would need new scales',
  );
  const eights = changed('families/qwen2', (all) =>
    all.map((tensor) => {
      if (!/[kv]_proj\.weight$/.test(tensor.name)) return tensor;
      const codes = new Uint8Array(tensor.shape[0]! * tensor.shape[1]!).fill(0x38);
      codes.fill(0x3a, 0, codes.length / 2); // the first head is 1.25, the other 1
      return { ...tensor, dtype: 'F8_E4M3' as const, data: codes };
    }),
  );
  convertHeads(eights, out, 'mqa');
  const key = tensorsOf(out).find(({ name }) => name.endsWith('0.self_attn.k_proj.weight'))!;
  expect(key.dtype).toBe('F8_E4M3');
  expect(new Set(key.data as Uint8Array)).toEqual(new Set([roundTo8('F8_E4M3', 1.125)]));
});

describe('buffers that old files saved', () => {
  it.each(['F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'I64', 'I32', 'I16', 'I8', 'U8', 'BOOL'] as const)(
    'in %s are no weights: %s',
    (dtype) => {
      const bytes = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, I16: 2 }[dtype as string] ?? 1;
      const buffer = (name: string) => ({ name, dtype, shape: [3], data: new Uint8Array(3 * bytes) });
      const named: [string, string][] = [
        ['families/gptj', 'transformer.h.0.attn.bias'],
        ['families/gpt-neox', 'gpt_neox.layers.0.attention.masked_bias'],
        ['families/llama-f64', 'model.layers.0.self_attn.rotary_emb.inv_freq'],
      ];
      for (const [name, tensor] of named) {
        const folder = changed(name, with_(buffer(tensor)));
        expect(loadModel(folder).config.family, basename(name)).toBeTypeOf('string');
        if (/^[IUB]/.test(dtype) && dtype !== 'BF16') {
          expect(inspect(folder).parameters).toBe(inspect(fixture(name)).parameters);
        }
      }
    },
  );

  it.each(['I64', 'I32', 'I16', 'U8', 'BOOL'] as const)('an %s where a weight belongs is refused', (dtype) => {
    const name = 'model.layers.0.input_layernorm.weight';
    const bytes = { I64: 8, I32: 4, I16: 2, U8: 1, BOOL: 1 }[dtype];
    const data = new Uint8Array(16 * bytes);
    expect(
      refusal(() =>
        loadModel(
          changed(
            'families/llama-f64',
            replaced(name, () => ({ dtype, data })),
          ),
        ),
      ),
    ).toContain(`tensor ${name} is ${dtype}; weights must be F64, F32, F16, BF16, F8_E4M3 or F8_E5M2`);
  });
});
