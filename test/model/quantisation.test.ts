/** Scales that stand beside codes: what is read, what is refused, and with which sentence. */
import { describe, expect, it } from 'vitest';
import type { TensorToWrite } from '../../src/checkpoint/safetensors/write.js';
import { loadModel } from '../../src/model/load.js';
import { float8s } from '../../src/tensor/dtype.js';
import { fixture } from '../support/fixtures.js';
import { changed, numbers, plus, refusal, replaced, storedTensors, without } from '../support/retouched.js';

const BLOCK = 'families/llama-fp8-block';
const CHANNEL = 'families/llama-fp8-channel';
const WHOLE = 'families/qwen3-fp8-e5m2';
const QUERY = 'model.layers.0.self_attn.q_proj.weight';

const queryOf = (folder: string) => {
  const { attention } = loadModel(folder).weights.layers[0]!;
  return attention.kind === 'grouped' ? attention.query.weight : expect.unreachable('grouped attention');
};

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
      plus({ name: 'lm_head.weight_scale_inv', dtype: 'F32', shape: [2, 3], data: new Float32Array(6) }),
      'tensor lm_head.weight is BF16 and has scales, lm_head.weight_scale_inv; config.json has quant_method = "fp8", whose scaled weights are F8_E4M3 or F8_E5M2',
    ],
    [
      'one of a weight that there is not',
      BLOCK,
      plus({ name: 'model.norm.weight_scale', dtype: 'F32', shape: [], data: new Float32Array(1) }),
      'tensor model.norm.weight is BF16 and has scales, model.norm.weight_scale',
    ],
    [
      'one of activations where they are dynamic',
      BLOCK,
      plus({ name: QUERY.replace('weight', 'input_scale'), dtype: 'F32', shape: [], data: new Float32Array(1) }),
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
    const codes = storedTensors(exponent).find(({ name }) => name === QUERY)!.data as Uint8Array;
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

describe('scales of experts in one tensor', () => {
  const NAME = 'families/llama4-text';
  const EXPERTS = 'model.layers.1.feed_forward.experts.gate_up_proj'; // [4, 32, 40], inputs first

  const weightsOf = (folder: string) => {
    const { feedForward } = loadModel(folder).weights.layers[1]!;
    if (feedForward.kind !== 'experts') return expect.unreachable('experts');
    return feedForward.experts.map(({ gate, up }) => [numbers(gate.weight), numbers(up.weight)]);
  };

  it.each<[string, object, string, number[], (expert: number, input: number, output: number) => number]>([
    ['for each output', { quant_method: 'fbgemm_fp8' }, '_scale', [4, 1, 40], (e, _, o) => e * 40 + o],
    [
      'for each block',
      { quant_method: 'fp8', weight_block_size: [16, 32] },
      '_scale_inv',
      [4, 2, 2],
      (e, i, o) => (e * 2 + (i >> 4)) * 2 + (o >> 5),
    ],
    ['for each expert', { quant_method: 'fp8', weight_block_size: null }, '_scale_inv', [4, 1, 1], (e) => e],
    ['for all', { quant_method: 'fp8', weight_block_size: null }, '_scale_inv', [1], () => 0],
  ])('%s', (_, config, suffix, shape, placeOf) => {
    const codes = Uint8Array.from({ length: 4 * 32 * 40 }, (_, i) => (i * 11) % 0x7e);
    const scales = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => 0.01 + i / 1000);
    const values = float8s('F8_E4M3');
    const wide = Float32Array.from(codes, (code, i) => {
      return values[code]! * scales[placeOf(Math.floor(i / 1280), Math.floor(i / 40) % 32, i % 40)]!;
    });
    const plain = changed(
      NAME,
      replaced(EXPERTS, () => ({ dtype: 'F32', data: wide })),
    );
    const folder = changed(
      NAME,
      (all) => [
        ...replaced(EXPERTS, () => ({ dtype: 'F8_E4M3', data: codes }))(all),
        { name: EXPERTS + suffix, dtype: 'F32', shape, data: scales },
      ],
      (raw) => ({ ...raw, quantization_config: config }),
    );
    expect(weightsOf(folder)).toEqual(weightsOf(plain));
  });
});
