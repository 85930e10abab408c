/**
 * The key of axis letters. A tensor carries its axes as a suffix: `q_THK` is queries [new tokens, query heads, key dim].
 * `expectShape` checks at module boundaries and says these words in its errors.
 */
export const AXES = {
  T: 'new tokens',
  S: 'stored tokens',
  D: 'model width',
  H: 'query heads',
  G: 'key/value heads',
  K: 'key dim',
  V: 'value dim',
  C: 'latent rank',
  R: 'rope dim',
  F: 'feed-forward width',
  N: 'vocabulary',
  E: 'experts',
  L: 'layers',
  B: 'sequences in a batch',
} as const;

export type Axis = keyof typeof AXES;
