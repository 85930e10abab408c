/** What `touchstone compare` prints on a terminal. */
import type { Comparison, TensorComparison } from '../src/reference/compare/comparison.js';
import { aroundLines, bisectionLines, firstOf, tokensText, verdictText } from '../src/reference/compare/words.js';
import { heatmapOf } from './compare-heatmap.js';
import { comparedText, klText, noteLines } from './compare-notes.js';
import { paintOf } from './compare-paint.js';
import { tableLines } from './compare-table.js';
import { printable } from './escape.js';
import { wrapped } from './wrap.js';

export interface TextOptions {
  /** Characters a line, of which 40 are used at least; Infinity where nothing bounds them (a file, a pipe): then each sentence is one line. */
  readonly columns: number;
  /** `showsColor` says whether a stream does. */
  readonly color: boolean;
  /** A line for every tensor, and every name; by default those that need a look, and a line a layer. */
  readonly all?: boolean | undefined;
}

/** The verdict with its reason first, then what led to it; ends with a line break. */
export function comparisonText(comparison: Comparison, { columns: asked, color, all = false }: TextOptions): string {
  const columns = Math.max(asked, 40);
  const paint = paintOf(color);
  const wrap = (sentence: string) => wrapped(printable(sentence), columns);
  const [verdict, ...reason] = wrap(verdictText(comparison));
  const painted = [verdict!.replace(comparison.verdict, (text) => paint(comparison.verdict, text)), ...reason];
  const { tensors } = comparison;
  const heatmap = heatmapOf(tensors, columns, paint);
  const parts: readonly (readonly string[])[] = [
    [...painted, ...headLines(comparison).flatMap(wrap)],
    tensors.length > 0 ? tableLines(tensors, { columns, all, paint }) : [],
    tensors.length > 0 ? tableNotes(tensors, all).flatMap(wrap) : [],
    heatmap ? [...heatmap.lines, '', ...wrap(heatmap.legend).map((line) => line.replaceAll('\u00a0', ' '))] : [],
    noteLines(comparison, all ? 'all' : 'short').flatMap((note) => wrap(`- ${note}`)),
  ];
  return `${parts.filter(({ length }) => length > 0).map((lines) => lines.join('\n')).join('\n\n')}\n`; // biome-ignore format: one thought
}

/** What is around the verdict: what was compared, tokens, root causes. */
function headLines(comparison: Comparison): string[] {
  const { tokens, bisection } = comparison;
  const first = firstOf(comparison);
  return [
    ...aroundLines(comparison, first),
    ...(bisection ? bisectionLines(comparison, bisection) : []),
    ...(tokens && first !== null && first.kind !== 'tokens' ? [`tokens: ${tokensText(tokens)}`] : []),
    comparedText(comparison),
  ];
}

function tableNotes(tensors: readonly TensorComparison[], all: boolean): string[] {
  const together = all
    ? ''
    : ' A line of several tensors, their number in brackets, names the one that lies furthest, and has its numbers.';
  return [
    `x noise: the largest difference of a position, in units of what rounding does there. RMS and noise: of all differences, and of rounding alone. ULP: the largest difference in units in the last place of ours.${together}`,
    ...tensors.flatMap(klText),
  ];
}
