/** The names of a trace, which those of all others are brought to (`fixtures/TRACE.md`). */
import { OUTSIDE_LAYERS, TRACE_AXES } from '../trace/format.js';
import { RUN_NAMES } from './run-names.js';

/** Every name, `{i}` standing for a layer's number. */
export const CANONICAL: readonly string[] = [
  ...RUN_NAMES,
  ...Object.keys(TRACE_AXES).map((kind) => (OUTSIDE_LAYERS.has(kind) ? kind : `layers.{i}.${kind}`)),
];

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
