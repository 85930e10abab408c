/** Quantised checkpoints on the command line. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { copyOf, editJson } from '../support/checkpoint.js';
import { output, touchstone } from '../support/cli.js';
import { fixture, readGolden } from '../support/fixtures.js';

describe('a quantised checkpoint', () => {
  it.each(['llama-fp8-block', 'llama-fp8-channel', 'gpt-oss-mxfp4'])(
    '%s generates the tokens of its golden',
    (name) => {
      const { inputIds, generatedIds } = readGolden(name);
      const model = fixture(`families/${name}`);
      const asked = [
        'generate',
        '--model',
        model,
        '--ids',
        inputIds.join(','),
        '-n',
        `${generatedIds.length}`,
        '--json',
      ];
      expect(JSON.parse(output(asked))).toMatchObject({ ids: generatedIds });
    },
  );

  it.each<[string, object, string]>([
    [
      'of a method that is not supported',
      { quant_method: 'gptq', bits: 4 },
      'quant_method = "gptq" is not supported; supported are fp8, ',
    ],
    [
      'with a key that is not understood',
      { quant_method: 'fp8', turned: true },
      'quantization_config.turned = true is not understood',
    ],
    [
      'whose blocks are of another size',
      { quant_method: 'fp8', weight_block_size: [8, 16] },
      'have [6, 3] by config.json.',
    ],
  ])('%s ends in one sentence', (_, config, message) => {
    const folder = copyOf('families/llama-fp8-block');
    editJson(join(folder, 'config.json'), (raw) => ({ ...raw, quantization_config: config }));
    for (const command of [
      ['inspect', folder],
      ['generate', '--model', folder, '--ids', '1'],
    ]) {
      const { out, err, code } = touchstone(command);
      expect([out, code]).toEqual(['', 1]);
      expect(err).toContain(message);
      expect(err.trim().split('\n')).toHaveLength(1);
    }
  });

  it('is not converted, with exit code 2', () => {
    const model = fixture('families/llama-fp8-channel');
    const { err, code } = touchstone(['convert', model, '/nowhere/out', '--key-value-heads', '1']);
    expect(code).toBe(2);
    expect(err).toContain('its weights are quantised (quant_method = "compressed-tensors")');
  });
});
