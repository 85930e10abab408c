/** What a model has, by name: for the person who ports it, and for the table of what is supported. */
import { ATTENTION_FEATURES } from './attention.js';
import type { Feature } from './feature.js';
import { PART_FEATURES } from './parts.js';

export { FEATURE_GROUPS, type Feature } from './feature.js';

export const FEATURES: readonly Feature[] = [...ATTENTION_FEATURES, ...PART_FEATURES];
