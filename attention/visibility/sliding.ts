import type { Visibility } from './visibility.js';

/**
 * A token sees the last `window` tokens, *itself counted* (Beltagy et al. 2020; Mistral as transformers runs it). So a window of 1 sees
 * the token alone, and a window as long as the sequence is causal.
 */
export function sliding(window: number): Visibility {
  return {
    name: `sliding ${window}`,
    sees: (query, key) => key <= query && query - key < window,
    sinks: 0,
    oldest: (query) => Math.max(query - window + 1, 0),
    span: window,
  };
}

/**
 * The window of a model or library that counts the tokens *before* the current one: FlashAttention's `window_size = (left, 0)`,
 * StreamingLLM's `recent_size`, Mistral's paper (section 2: positions i - W to i).
 */
export function windowOfPast(past: number): number {
  return past + 1;
}
