/** What config.json may say of how weights are stored, and what is refused. */
import { describe, expect, it } from 'vitest';
import { quantisationOf } from '../../src/model/families/quantisation-config.js';
import { refusal } from '../support/retouched.js';

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
