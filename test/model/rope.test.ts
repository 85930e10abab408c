import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { withSafetensors } from '../../src/checkpoint/safetensors/read.js';
import { llama } from '../../src/model/families/llama.js';
import { nemotron } from '../../src/model/families/nemotron.js';
import { ropeOf } from '../../src/model/families/rope-config.js';
import { loadModel } from '../../src/model/load.js';
import { fixture } from '../support/fixtures.js';

interface Recorded {
  readonly rope_parameters: Record<string, unknown>;
  readonly frequencies: number[];
  readonly magnitude: number;
  /** The length of the sequence, where the rope depends on it. */
  readonly length?: number;
  /** At the top of the config, where it wins over the one with the rope type. */
  readonly original_max_position_embeddings?: number;
}
const recorded: Recorded[] = JSON.parse(readFileSync(fixture('ropes.json'), 'utf8'));

const origin = { file: 'config.json', ropeLength: null };
const shape = {
  model_type: 'llama', vocab_size: 8, hidden_size: 128, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 4, max_position_embeddings: 512,
}; // biome-ignore format: a config

it.each(recorded)(
  'derives the frequencies that transformers derives from $rope_parameters',
  ({ rope_parameters, frequencies, magnitude, length, ...top }) => {
    const { rope_theta, rope_type, ...rest } = rope_parameters;
    for (const keys of [{ rope_parameters }, { rope_theta, rope_scaling: { type: rope_type, ...rest } }]) {
      const { rope } = llama.configure({ ...shape, ...top, ...keys }, { ...origin, ropeLength: length ?? null })
        .layers[0]!.attention;
      expect(rope!.magnitude).toBeCloseTo(magnitude, 14);
      for (const [i, frequency] of frequencies.entries()) expect(rope!.frequencies[i]! / frequency).toBeCloseTo(1, 13);
    }
  },
);

it.each(
  recorded.filter(({ length }) => length === undefined).map(({ rope_parameters }, i) => ({ rope_parameters, i })),
)('has the same in float32 as transformers comes to them from $rope_parameters', ({ rope_parameters, i }) => {
  const inFloat32 = llama.configure({ ...shape, rope_parameters }, origin).layers[0]!.attention.rope!.inFloat32!;
  const expected = withSafetensors(
    fixture('emulation.safetensors'),
    (file) => new Float32Array(file.read(`ropes.${i}`)),
  );
  if (rope_parameters.rope_type === 'default') expect([...inFloat32]).toEqual([...expected]);
  expect(inFloat32.map(Math.fround)).toEqual(inFloat32);
  // What stretches them is computed in float64 here: up to three units in the last place.
  for (const [pair, frequency] of expected.entries()) {
    expect(Math.abs(inFloat32[pair]! / frequency - 1)).toBeLessThan(3 * 2 ** -23);
  }
});

it('has in float32 what float32 makes of fractions that it has not, too', () => {
  // 1.0 / 10000.0 ** (torch.arange(0, 24, 2).float() / 24)
  const expected = [
    1, 0.46415889263153076, 0.2154434472322464, 0.10000000149011612, 0.04641588404774666, 0.02154434844851494,
    0.009999999776482582, 0.00464158970862627, 0.002154434332624078, 0.0010000000474974513, 0.00046415894757956266, 0.00021544341871049255,
  ]; // biome-ignore format: numbers
  const { inFloat32 } = loadModel(fixture('austen-llama')).config.layers[0]!.attention.rope!;
  expect(inFloat32).toEqual(expected);
});

it('takes a theta of 10,000 where none is given, as transformers does', () => {
  const { rope } = llama.configure(shape, origin).layers[0]!.attention;
  expect(rope!.frequencies[1]).toBeCloseTo(10_000 ** (-2 / 32), 14);
  expect(loadModel(fixture('austen-llama')).config.layers[0]!.attention.rope!.frequencies[1]).toBeCloseTo(
    10_000 ** (-2 / 24),
    14,
  );
});

it('rotates the whole part of a head that a fraction makes, rounded down, and refuses one of no pair', () => {
  const dimOf = (partial_rotary_factor: number) =>
    ropeOf({ partial_rotary_factor }, { dim: 14, partial: 1, context: 512 }, origin).dim;
  expect([0.2, 0.3, 1].map(dimOf)).toEqual([2, 4, 14]); // of 2.8, 4.2 and 14 values
  expect(() => dimOf(0.05)).toThrow('its part of 0.05 that is rotated');
});

it('refuses to rotate more than a head', () => {
  for (const keys of [
    { partial_rotary_factor: 1.5 },
    { rope_parameters: { rope_type: 'default', partial_rotary_factor: 1.5 } },
  ]) {
    expect(() => nemotron.configure({ ...shape, ...keys, model_type: 'nemotron' }, origin)).toThrow(
      'partial_rotary_factor = 1.5 is not valid',
    );
  }
});

it.each<[object, number]>([
  [{ rope_type: 'yarn', factor: 0.5 }, 1], // a context that is made shorter changes no magnitude
  [{ rope_type: 'yarn', factor: 8, mscale: 2 }, 0.1 * Math.log(8) + 1], // one of the two factors alone says nothing
  [{ rope_type: 'yarn', factor: 8, mscale_all_dim: 2 }, 0.1 * Math.log(8) + 1],
  [{ rope_type: 'longrope', factor: 0.5, short_factor: Array(16).fill(1), long_factor: Array(16).fill(1) }, 1],
])('%j has a magnitude of %d', (rope_parameters, magnitude) => {
  const { rope } = llama.configure({ ...shape, rope_parameters }, origin).layers[0]!.attention;
  expect(rope!.magnitude).toBeCloseTo(magnitude, 14);
});

describe('yarn', () => {
  const frequenciesOf = (rope_theta: number, original_max_position_embeddings: number) => {
    const rope_parameters = { rope_type: 'yarn', rope_theta, factor: 8, original_max_position_embeddings };
    return llama.configure({ ...shape, rope_parameters }, origin).layers[0]!.attention.rope!.frequencies;
  };

  it('has a ramp that may end beyond the last pair', () => {
    // Of 16 pairs: pair 12.9 turns 32 times in 8,192 positions, and pair 24.9 would turn once.
    const part = (15 - 12) / (25 - 12);
    expect(frequenciesOf(100, 8192)[15]).toBeCloseTo(100 ** (-30 / 32) * (1 - part + part / 8), 14);
  });

  it('steps where its ramp has no length', () => {
    const found = frequenciesOf(10_000, 6); // in which no pair turns once
    for (const [i, frequency] of found.entries())
      expect(frequency).toBeCloseTo(10_000 ** (-i / 16) / (i === 0 ? 1 : 8), 14);
  });
});
