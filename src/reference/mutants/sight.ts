/** Mistakes of masks: what a query sees. */
import { type VisibilityConfig, visibilityOf } from '../../../attention/visibility/index.js';
import type { LayerConfig } from '../../model/config.js';
import type { Model } from '../../model/load.js';
import { withSight } from './kernels.js';
import { type Mutant, type Mutation, type Variant, when } from './mutant.js';

/** What a layer sees, as it was chosen for the run. */
function ruleOf({ options }: Model, { visibility }: LayerConfig): VisibilityConfig {
  return options.visibility === 'auto' ? visibility : options.visibility;
}

const rulesOf = (model: Model) => model.config.layers.map((layer) => ruleOf(model, layer));

/** Layers see otherwise. */
const seeing =
  (
    change: (own: VisibilityConfig, index: number, all: readonly VisibilityConfig[]) => VisibilityConfig,
  ): NonNullable<Mutation['attends']> =>
  (layer, model) => {
    const all = rulesOf(model);
    return { ...layer, visibility: visibilityOf(change(all[layer.index]!, layer.index, all)) };
  };

/** Layers with windows, chunks counted where the model has no window. */
function sized(model: Model, change: (size: number) => number): readonly Variant[] {
  const changed = (rule: VisibilityConfig): VisibilityConfig => {
    if (rule.kind === 'sliding' || rule.kind === 'sinks') return { ...rule, window: change(rule.window) };
    return rule.kind === 'chunked' ? { ...rule, chunk: change(rule.chunk) } : rule;
  };
  const sizes = rulesOf(model).flatMap((rule) =>
    rule.kind === 'sliding' || rule.kind === 'sinks' ? [rule.window] : rule.kind === 'chunked' ? [rule.chunk] : [],
  );
  return when(sizes.length > 0 && sizes.every((size) => change(size) > 0), { attends: seeing(changed) });
}

const isBounded = ({ kind }: VisibilityConfig) => kind !== 'causal';

const differ = (model: Model) => new Set(rulesOf(model).map((rule) => JSON.stringify(rule))).size > 1;

export const SIGHT_MUTANTS: readonly Mutant[] = [
  {
    name: 'mask-missing',
    group: 'what is seen',
    mistake: 'the prompt is not masked: tokens see those after them',
    symptom: 'the last token of a prompt is right in a model of one layer, and all else is wrong',
    fix: 'a query at p sees the keys at j <= p alone',
    variants: () => [{ label: '', attends: withSight((query, key, _, call) => key > query || call.visibility.sees(query, key)), byPass: true }], // biome-ignore format: one thought
  },
  {
    name: 'mask-strict',
    group: 'what is seen',
    mistake: 'a token does not see itself: keys at j < p instead of j <= p',
    symptom: 'every row but the first is off',
    fix: 'let the diagonal of the mask be seen',
    variants: () => [
      { label: '', attends: withSight((query, key, _, call) => (key < query || query === 0) && call.visibility.sees(query, key)) }, // biome-ignore format: one thought
    ],
    sameAs: { 'cache-stale': 'if all is fed token by token' },
  },
  {
    name: 'mask-top-left',
    group: 'what is seen',
    mistake:
      'the causal mask of a pass after the first is aligned at its first key, not its last: new tokens see the beginning of the text alone',
    symptom:
      'the prompt is right in one pass, and what is fed later (chunks, generated tokens) forgets what came before it',
    fix: 'align masks by position: a query at p sees j <= p, however many keys are stored (torch: is_causal aligns top left)',
    variants: () => [
      {
        label: '',
        attends: withSight((query, key, start, call) => call.visibility.sees(query - start, key)),
        byPass: true,
      },
    ],
  },
  {
    name: 'window-short',
    group: 'what is seen',
    mistake: 'the window (or chunk) is one token too short: it does not count the current token',
    symptom: 'right up to the length of the window, then slightly off',
    fix: 'a window of W sees the keys at p - W < j <= p, W in all',
    variants: (model) => sized(model, (size) => size - 1),
  },
  {
    name: 'window-long',
    group: 'what is seen',
    mistake: 'the window (or chunk) is one token too long: p - j <= W, inclusive where it should be exclusive',
    symptom: 'right up to the length of the window, then slightly off',
    fix: 'a window of W sees the keys at p - W < j <= p, W in all; FlashAttention counts W - 1 to the left',
    variants: (model) => sized(model, (size) => size + 1),
  },
  {
    name: 'window-missing',
    group: 'what is seen',
    mistake: 'layers with a window (or chunks) see all tokens before them',
    symptom: 'right up to the length of the window, then off',
    fix: 'mask what lies outside the window in the layers that have one',
    variants: (model) => when(rulesOf(model).some(isBounded), { attends: seeing(() => ({ kind: 'causal' })) }),
  },
  {
    name: 'window-everywhere',
    group: 'what is seen',
    mistake: 'all layers have the window (or chunks) that some of them should have',
    symptom: 'right up to the length of the window, then far off: nothing reaches further back',
    fix: 'read from the config which layers see everything (layer_types, sliding_window_pattern, max_window_layers)',
    variants: (model) => when(differ(model), { attends: seeing((_, __, all) => all.find(isBounded)!) }),
  },
  {
    name: 'window-layers-shifted',
    group: 'what is seen',
    mistake: 'the pattern of layers with windows (or chunks) and without is shifted by one layer',
    symptom: 'right up to the length of the window, then off',
    fix: 'count layers as the config does: in Gemma 2 the first has a window, and in some patterns every n-th has none',
    variants: (model) => when(differ(model), { attends: seeing((_, i, all) => all[(i + 1) % all.length]!) }),
    sameAs: {
      'window-everywhere': 'the shift gives every layer that differs a window',
      'window-missing': 'the shift takes every window',
    },
  },
  {
    name: 'chunks-for-window',
    group: 'what is seen',
    mistake:
      'a window is taken for chunks, or chunks for a window: tokens see their own block of positions, or the last ones',
    symptom: 'right up to the size, then off',
    fix: 'chunks (Llama 4) begin at multiples of their size; a window moves with each token',
    variants: (model) =>
      when(
        rulesOf(model).some(({ kind }) => kind === 'chunked' || kind === 'sliding'),
        {
          attends: seeing((rule) => {
            if (rule.kind === 'chunked') return { kind: 'sliding', window: rule.chunk };
            return rule.kind === 'sliding' ? { kind: 'chunked', chunk: rule.window } : rule;
          }),
        },
      ),
  },
];
