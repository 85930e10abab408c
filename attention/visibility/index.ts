import { causal } from './causal.js';
import type { Visibility } from './visibility.js';

/** Rules that can be chosen by name. */
export const VISIBILITIES = { causal } satisfies Record<string, Visibility>;

export type VisibilityName = keyof typeof VISIBILITIES;
