/** Keys that contradict each other, and lengths that make no sense, are refused by name, in whichever family they stand. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { familyOf } from '../../src/model/families/index.js';
import { fixture } from '../support/fixtures.js';

type Json = Record<string, unknown>;

function configure(name: string, change: Json, ropeLength: number | null = null) {
  const raw = { ...(JSON.parse(readFileSync(fixture(`families/${name}/config.json`), 'utf8')) as Json), ...change };
  return familyOf(raw, 'config.json').configure(raw, { file: 'config.json', ropeLength });
}

const LONG = {
  rope_type: 'longrope',
  rope_theta: 10000,
  short_factor: Array(8).fill(1),
  long_factor: Array(8).fill(2),
};

it.each<[string, Json, string]>([
  ['phi', { partial_rotary_factor: 0.25 }, 'partial_rotary_factor = 0.25 contradicts the 0.5 given with the rope type'],
  ['deepseek-v3', { num_key_value_heads: 2 }, 'num_key_value_heads = 2 differs from num_attention_heads = 4'],
  ['minicpm3', { num_key_value_heads: 1 }, 'num_key_value_heads = 1 differs from num_attention_heads = 4'],
  [
    'gpt-neo',
    {
      attention_types: [
        [['local'], 4096],
        [['global'], 4096],
      ],
    },
    'makes 8192 layers, and num_layers = 2',
  ],
  ['llama-longrope-short', { rope_parameters: { ...LONG, original_max_position_embeddings: 1 } }, 'original_max'],
  ['llama-longrope-short', { rope_parameters: { ...LONG, original_max_position_embeddings: 32.5 } }, 'original_max'],
])('%s with %j', (name, change, message) => {
  expect(() => configure(name, change)).toThrow(message);
});

it('an original context beyond the context is no longer than it', () => {
  const { context, ropeLength } = configure('llama-longrope-short', {
    rope_parameters: { ...LONG, original_max_position_embeddings: 512 },
  });
  expect([context, ropeLength]).toEqual([256, 256]);
});

it('a rope that no layer has bounds nothing', () => {
  const rope_parameters = { rope_type: 'dynamic', rope_theta: 10000, factor: 2 };
  expect(configure('falcon-alibi', { rope_parameters })).toMatchObject({ context: 256, ropeLength: null });
  expect(() => configure('falcon-alibi', { rope_parameters }, 64)).toThrow('has no rope');
});
