/** What a reader should know besides, and lists that are too long to be read. */
import type { Comparison, TensorComparison } from '../src/reference/compare/comparison.js';
import { count, figures, plural } from '../src/reference/compare/numbers.js';
import { problemText } from '../src/reference/compare/words.js';
import { patternsOf } from './compare-groups.js';

export function comparedText({ theirs, ours, dtype, precision }: Comparison): string {
  return `compared: ${theirs}, in ${dtype}, with ${ours}, in ${precision}`;
}

export function klText({ name, measures }: TensorComparison): string[] {
  if (!measures?.kl) return [];
  const { mean, max, top1 } = measures.kl;
  const same = `the same likeliest token at ${(100 * top1).toFixed(1)} % of positions`;
  return [`${name}: KL divergence ${figures(mean)} in the mean, ${figures(max)} at most; ${same}`];
}

/** `patterns`: names that differ in their numbers alone are one; `short`: of these the first ones. */
export type NoteLength = 'short' | 'patterns' | 'all';

/** Of notes that are lists, this much is shown in short. */
const MOST = 6;

/** What could not be compared, what was recognised, what is not known, what is missing, and the comparison's own notes. */
export function noteLines(comparison: Comparison, length: NoteLength): string[] {
  const { tensors, unknown, missing, notes } = comparison;
  const problems = tensors.filter(({ problem }) => problem !== null);
  const few = length === 'short' ? problems.slice(0, MOST) : problems;
  const left = problems.length - few.length;
  return [
    ...few.map(problemText),
    ...(left > 0 ? [`${plural(left, 'more tensor')} cannot be compared`] : []),
    ...layoutNotes(tensors, length),
    ...namesNote('names of theirs that are not known', unknown, length),
    ...namesNote('tensors of ours that they have not', missing, length),
    ...notes,
  ];
}

function layoutNotes(tensors: readonly TensorComparison[], length: NoteLength): string[] {
  const layouts = new Map<string, string[]>();
  for (const { name, layout } of tensors) {
    if (layout !== null) layouts.set(layout, [...(layouts.get(layout) ?? []), name]);
  }
  return [...layouts].flatMap(([layout, names]) => namesNote(`recognised as ${layout}`, names, length));
}

function namesNote(what: string, names: readonly string[], length: NoteLength): string[] {
  if (names.length === 0) return [];
  const shown = length === 'all' ? names : patternsOf(names);
  const few = length === 'short' ? shown.slice(0, MOST) : shown;
  const more = shown.length > few.length ? ` and ${count(shown.length - few.length)} more` : '';
  return [`${what} (${count(names.length)}): ${few.join(', ')}${more}`];
}
