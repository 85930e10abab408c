/** Checkpoints of quantised weights, 8-bit floats and old buffers as a whole: what is loaded, inspected and converted. */
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/safetensors/write.js';
import { convertHeads } from '../../src/model/convert-heads.js';
import { loadModel } from '../../src/model/load.js';
import { inspect } from '../../src/reference/inspect.js';
import { float8s, roundTo8 } from '../../src/tensor/dtype.js';
import { copyOf, editJson } from '../support/checkpoint.js';
import { fixture, temporaryFolder } from '../support/fixtures.js';
import { changed, numbers, plus, refusal, replaced, storedTensors, without } from '../support/retouched.js';

const BLOCK = 'families/llama-fp8-block';
const CHANNEL = 'families/llama-fp8-channel';
const WHOLE = 'families/qwen3-fp8-e5m2';
const MXFP4 = 'families/gpt-oss-mxfp4';

describe('8-bit floats without a config', () => {
  it('are taken at their values, and inspect says so', () => {
    const plain = changed('families/llama-f64', (all) => all);
    const name = 'model.layers.0.mlp.up_proj.weight';
    const values = storedTensors(plain).find((tensor) => tensor.name === name)!;
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
    expect(inspect(folder).unusual).toContain('8-bit floats without scales: 1 tensors, taken at their values');
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

  it('warns of NaN in codes and in scales', () => {
    const scales = 'model.layers.1.mlp.experts.down_proj_scales';
    const damaged = changed(
      MXFP4,
      replaced(scales, ({ data }) => ({
        data: Uint8Array.from(data as Uint8Array, (byte, i) => (i === 5 ? 255 : byte)),
      })),
    );
    expect(inspect(damaged).unusual).toContain(`${scales} holds NaN or infinity`);
    const code = 'model.layers.0.mlp.up_proj.weight';
    const wrong = replaced(code, ({ data }) => ({
      data: Uint8Array.from(data as Uint8Array, (byte, i) => (i === 9 ? 0x7f : byte)),
    }));
    expect(inspect(changed(BLOCK, wrong)).unusual).toContain(`${code} holds NaN or infinity`);
    for (const name of [BLOCK, CHANNEL, WHOLE, MXFP4])
      expect(inspect(fixture(name)).unusual.join()).not.toContain('NaN');
  });

  it('tells of scales that are not used', () => {
    expect(inspect(fixture(CHANNEL)).unusual).toContain(
      'unused scales: 2 tensors for activations or a cache in 8 bits',
    );
    expect(inspect(fixture(WHOLE)).unusual).toContain('unused scales: 7 tensors for activations or a cache in 8 bits');
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
  const buffer = {
    name: 'model.layers.0.self_attn.rotary_emb.inv_freq',
    dtype: 'BOOL',
    shape: [3],
    data: Uint8Array.of(1, 0, 1),
  } as const;
  writeSafetensors(join(eights, 'model.safetensors'), [...storedTensors(eights), buffer]);
  convertHeads(eights, out, 'mqa');
  expect(storedTensors(out)).toContainEqual(buffer);
  const key = storedTensors(out).find(({ name }) => name.endsWith('0.self_attn.k_proj.weight'))!;
  expect(key.dtype).toBe('F8_E4M3');
  expect(new Set(key.data as Uint8Array)).toEqual(new Set([roundTo8('F8_E4M3', 1.125)]));
});

describe('buffers that old files saved', () => {
  it.each(['F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'I64', 'I32', 'I16', 'I8', 'U8', 'BOOL'] as const)(
    'in %s are no weights',
    (dtype) => {
      const bytes = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, I16: 2 }[dtype as string] ?? 1;
      const buffer = (name: string) => ({ name, dtype, shape: [3], data: new Uint8Array(3 * bytes) });
      const named: [string, string][] = [
        ['families/gptj', 'transformer.h.0.attn.bias'],
        ['families/gpt-neox', 'gpt_neox.layers.0.attention.masked_bias'],
        ['families/llama-f64', 'model.layers.0.self_attn.rotary_emb.inv_freq'],
      ];
      for (const [name, tensor] of named) {
        const folder = changed(name, plus(buffer(tensor)));
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
