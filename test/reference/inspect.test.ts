/** What an inspection says of the families' fixtures: where norms stand, what tells tokens where they are, and what is unusual. */
import { expect, it } from 'vitest';
import { inspect } from '../../src/reference/inspect.js';
import { fixture } from '../support/fixtures.js';

it.each<[string, object]>([
  ['bloom', { positions: 'linear biases (ALiBi)', ropeDim: null, normPlacement: 'before each part', norm: 'layer' }],
  ['cohere2', { positions: 'rope over 12 values (3 layers), none (1 layers)', ropeDim: 12, norm: 'layer' }],
  ['cohere2', { visibility: 'sliding 12 (3 layers), causal (1 layers)', tiedHead: true }],
  ['deepseek-v2-lite', { headDim: 20, ropeDim: 8, keyValueHeads: null, feedForwardWidth: 48, norm: 'rms' }],
  ['gemma2', { normPlacement: 'before and after each part', activation: 'gelu_pytorch_tanh' }],
  ['gpt-bigcode', { positions: 'learned', attention: 'multi-query', feedForward: 'plain of 80' }],
  ['gptj', { positions: 'rope over 8 values', normPlacement: 'before each part, both parts side by side' }],
  ['granitemoe', { feedForward: '2 of 4 experts of 24', feedForwardWidth: 24, normPlacement: 'before each part' }],
  ['olmo2', { normPlacement: 'after each part', norm: 'rms', normEps: 1e-5 }],
  ['opt-post-norm', { positions: 'learned', normPlacement: 'after each sum', norm: 'layer' }],
])('%s has %j', (name, expected) => {
  expect(inspect(fixture(`families/${name}`)).architecture).toMatchObject(expected);
});

const BIASES = 'attention biases: the attention projections have biases';
const PARALLEL = "parallel: attention and feed-forward both begin at the layer's input";
const WINDOW = [
  'window: a window counts the current token (sliding 12)',
  'windows by layer: layers differ in what they see',
];
const WIDTH = (joined: number, width: number) =>
  `query heads x head dim = ${joined}, which is not the model width ${width}`;
const NO_TOKENIZER = 'there is no tokenizer.json: prompts must be given as token ids';

it.each<[string, string[]]>([
  [
    'gpt-neo',
    [
      'learned positions: positions are learned: 96 of them',
      ...WINDOW,
      'score factor: scores are multiplied by 1, not by 1 / sqrt(head dim)',
      `${BIASES} (the output)`,
      'feed-forward biases: the feed-forward layers have biases',
    ],
  ],
  [
    'opt-post-norm',
    [
      'learned positions: positions are learned: 96 of them, the first in row 2',
      `${BIASES} (all of them)`,
      'embedding projected: tokens are embedded in 32 values and projected to 48',
      'feed-forward biases: the feed-forward layers have biases',
      'norm of sums: norms stand after each sum (post-norm)',
    ],
  ],
  [
    'gpt-neox',
    [
      'rope on a part: rope rotates the first 6 values of a head',
      `${BIASES} (all of them)`,
      'feed-forward biases: the feed-forward layers have biases',
      PARALLEL,
    ],
  ],
  [
    'cohere2',
    [
      'rope interleaved: rope rotates neighbouring values, not the two halves',
      'NoPE layers: some layers have no rope',
      ...WINDOW,
      `${PARALLEL}, and share its norm`,
      'logit factor: logits are multiplied by 0.6',
      WIDTH(48, 64),
    ],
  ],
  ['qwen2', [`${BIASES} (queries, keys and values)`, WIDTH(64, 48)]],
  [
    'olmo2',
    [
      'qk norm: queries and keys are normed (rms, all heads as one row, before rope)',
      'norm after: what a part makes is normed before it is added',
      WIDTH(64, 48),
    ],
  ],
])('of %s a port should know', (name, expected) => {
  expect(inspect(fixture(`families/${name}`)).unusual).toEqual([...expected, NO_TOKENIZER]);
});
