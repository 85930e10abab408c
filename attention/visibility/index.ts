import { expectSize, UsageError } from '../../src/errors.js';
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

/** A rule's sizes, and what makes it of them. */
type Rule<Kind> = readonly [sizes: readonly string[], make: (config: VisibilityConfig & { kind: Kind }) => Visibility];

/** Rules that can be chosen by name. */
export const VISIBILITIES = {
  causal: [[], () => causal],
  sliding: [['window'], ({ window }) => sliding(window)],
  chunked: [['chunk'], ({ chunk }) => chunked(chunk)],
  sinks: [['sinks', 'window'], ({ sinks, window }) => sinksAndWindow(sinks, window)],
} satisfies { [Kind in VisibilityName]: Rule<Kind> };

/** @throws UsageError for a rule that there is not, and for a size that is not a whole number of at least 1. */
export function visibilityOf(config: VisibilityConfig): Visibility {
  const found = (VISIBILITIES as Record<string, Rule<never> | undefined>)[config.kind];
  if (!found) {
    const known = Object.keys(VISIBILITIES).join(', ');
    throw new UsageError(`Visibility ${JSON.stringify(config)}: expected { kind, ... } with a kind of ${known}.`);
  }
  const [sizes, make] = found;
  for (const size of sizes) expectSize(`Visibility ${config.kind}, ${size}`, (config as Record<string, unknown>)[size]);
  return make(config as never);
}
