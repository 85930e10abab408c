import { causal } from './causal.js';
import type { Visibility } from './visibility.js';

/** A rule as a config describes it; rules that need sizes will carry them here. */
export type VisibilityConfig = { readonly kind: 'causal' };

/** Rules that can be chosen by name. */
export const VISIBILITIES = {
  causal: () => causal,
} satisfies { [Kind in VisibilityConfig['kind']]: (config: VisibilityConfig & { kind: Kind }) => Visibility };

export type VisibilityName = keyof typeof VISIBILITIES;
