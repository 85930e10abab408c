import type { Visibility } from './visibility.js';

/**
 * The first `sinks` tokens and the last `window` ones, the current one counted (StreamingLLM, Xiao et al. 2023, section 3.2; its
 * `start_size`, and its `recent_size` + 1): models park attention on the first tokens, so these must stay.
 */
export function sinksAndWindow(sinks: number, window: number): Visibility {
  return {
    name: `sinks ${sinks} + ${window}`,
    sees: (query, key) => key <= query && (key < sinks || query - key < window),
    sinks,
    oldest: (query) => Math.max(query - window + 1, 0),
    span: window,
  };
}
