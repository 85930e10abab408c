import type { Visibility } from './visibility.js';

/** Every token sees itself and all tokens before it. */
export const causal: Visibility = {
  name: 'causal',
  sees: (query, key) => key <= query,
  sinks: 0,
  oldest: () => 0,
  span: Number.POSITIVE_INFINITY,
};
