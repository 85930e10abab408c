/** The names of a trace, which those of all others are brought to (`fixtures/TRACE.md`). */

const GLOBAL = ['input_ids', 'generated_ids', 'margins', 'positions', 'embeddings', 'final_norm', 'logits'] as const;

/** Within `layers.{i}.` */
const OF_LAYERS = [
  'attention.input', 'attention.q', 'attention.k', 'attention.v', 'attention.latent', 'attention.rope_key', 'attention.q_rope', 'attention.k_rope',
  'attention.rope_key_rope', 'attention.scores', 'attention.probabilities', 'attention.heads', 'attention.output', 'attention.output_norm', 'attention.residual',
  'feed_forward.input', 'feed_forward.hidden', 'router.logits', 'router.experts', 'router.weights', 'feed_forward.output', 'feed_forward.output_norm', 'output',
] as const; // biome-ignore format: a table

/** Every name, `{i}` standing for a layer's number. */
export const CANONICAL: readonly string[] = [...GLOBAL, ...OF_LAYERS.map((name) => `layers.{i}.${name}`)];

const KNOWN: ReadonlySet<string> = new Set(CANONICAL);

/** Whether a name, with numbers or with `{i}`, is one of a trace. */
export function isCanonical(name: string): boolean {
  return KNOWN.has(name.replace(/^layers\.\d+\./, 'layers.{i}.'));
}

/** The name of a trace that another one is nearest to, with `{i}` for its layer. */
export function nearestCanonical(name: string): string {
  return nearestOf(name.replace(/\d+/, '{i}'), CANONICAL);
}

/** Which of some names a name is nearest to, by changes of a letter (Levenshtein 1966). @param known at least one */
export function nearestOf(name: string, known: readonly string[]): string {
  const distances = known.map((other) => distance(name, other));
  return known[distances.indexOf(Math.min(...distances))]!;
}

function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      const changed = row[j - 1]! + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(changed, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[other.length]!;
}
