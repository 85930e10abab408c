import { UsageError } from '../../src/errors.js';
import { causal } from './causal.js';
import { chunked } from './chunked.js';
import { sinksAndWindow } from './sinks.js';
import { sliding } from './sliding.js';
import type { Visibility } from './visibility.js';

/** A rule with its sizes, as a config or a user describes it. Windows count the current token. */
export type VisibilityConfig =
  | { readonly kind: 'causal' }
  | { readonly kind: 'sliding'; readonly window: number }
  | { readonly kind: 'chunked'; readonly chunk: number }
  | { readonly kind: 'sinks'; readonly sinks: number; readonly window: number };

export type VisibilityName = VisibilityConfig['kind'];

/** Rules that can be chosen by name, with the sizes that each needs. */
export const VISIBILITIES = {
  causal: [],
  sliding: ['window'],
  chunked: ['chunk'],
  sinks: ['sinks', 'window'],
} as const satisfies { [Kind in VisibilityName]: readonly string[] };

/** @throws UsageError for a size that is not a whole number of at least 1. */
export function visibilityOf(config: VisibilityConfig): Visibility {
  for (const size of VISIBILITIES[config.kind]) {
    const value = (config as unknown as Record<string, number>)[size];
    if (!Number.isSafeInteger(value) || value! < 1) {
      throw new UsageError(
        `Visibility ${config.kind}: expected ${size} to be a whole number of at least 1, got ${value}.`,
      );
    }
  }
  switch (config.kind) {
    case 'causal':
      return causal;
    case 'sliding':
      return sliding(config.window);
    case 'chunked':
      return chunked(config.chunk);
    case 'sinks':
      return sinksAndWindow(config.sinks, config.window);
    default:
      return config satisfies never;
  }
}
