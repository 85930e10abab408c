import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { llama } from '../../src/model/families/llama.js';
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

it('takes a theta of 10,000 where none is given, as transformers does', () => {
  const { rope } = llama.configure(shape, origin).layers[0]!.attention;
  expect(rope!.frequencies[1]).toBeCloseTo(10_000 ** (-2 / 32), 14);
  expect(loadModel(fixture('austen-llama')).config.layers[0]!.attention.rope!.frequencies[1]).toBeCloseTo(
    10_000 ** (-2 / 24),
    14,
  );
});
