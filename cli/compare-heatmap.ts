/** A heatmap of layers and positions, in characters. */
import type { TensorComparison, Verdict } from '../src/reference/compare/comparison.js';
import { figures } from '../src/reference/compare/numbers.js';
import { worstTensor } from '../src/reference/compare/words.js';
import {
  type Bin,
  binsOf,
  type Cell,
  cellsOf,
  type Group,
  groupsOf,
  LEVELS,
  labelStep,
  levelOf,
} from './compare-groups.js';
import type { Paint } from './compare-paint.js';
import { printable } from './escape.js';

/** One for each level of `LEVELS`, and one above. A space is left for what was not compared. */
const SHADES = '.:-=+*#%@';

const NO_BREAK = '\u00a0';

/** No line of a heatmap is longer, however wide the terminal is. */
const MOST_CELLS = 128;

export interface Heatmap {
  readonly lines: readonly string[];
  /** What its characters mean: a sentence, with no-break spaces within pairs. */
  readonly legend: string;
}

/** @param columns characters a line @returns null: no tensor has positions */
export function heatmapOf(tensors: readonly TensorComparison[], columns: number, paint: Paint): Heatmap | null {
  const groups = groupsOf(tensors);
  const shown = groups.map(({ name }) => printable(name));
  const label = Math.min(Math.max(...shown.map(({ length }) => length), 8), 24);
  const room = Math.min(columns - label - VERDICT_ROOM - 4, MOST_CELLS);
  const bins = binsOf(tensors, room);
  if (bins.length === 0) return null;
  const wide = bins.length * 2 <= room ? 2 : 1;
  const rows = groups.map((group, i) => {
    const name = shown[i]!.length > label ? `${shown[i]!.slice(0, label - 1)}…` : shown[i]!.padEnd(label);
    return `${name} │${cellsText(cellsOf(group.tensors, bins), wide, paint)}│ ${summary(group, paint)}`.trimEnd();
  });
  const indent = ' '.repeat(label + 2);
  return { lines: [...rows, `${indent}${axisOf(bins, wide)}`], legend: legendOf(bins) };
}

/** Of `within noise 1.2e-7`. */
const VERDICT_ROOM = 21;

function summary({ tensors }: Group, paint: Paint): string {
  const { verdict } = worstTensor(tensors);
  const measured = tensors.filter(({ measures }) => measures !== null);
  const ratio = measured.length > 0 ? figures(worstTensor(measured).measures!.ratio) : '-';
  return paint(verdict, `${verdict.padEnd(12)} ${ratio}`);
}

/** Cells of one verdict are painted together. */
function cellsText(cells: readonly (Cell | null)[], wide: number, paint: Paint): string {
  const runs: [verdict: Verdict | null, text: string][] = [];
  for (const cell of cells) {
    const verdict = cell?.verdict ?? null;
    const text = (cell ? SHADES[levelOf(cell.ratio)]! : ' ').repeat(wide);
    const last = runs.at(-1);
    if (last && last[0] === verdict) last[1] += text;
    else runs.push([verdict, text]);
  }
  return runs.map(([verdict, text]) => (verdict ? paint(verdict, text) : text)).join('');
}

/** First positions of bins, each below its cell. */
function axisOf(bins: readonly Bin[], wide: number): string {
  const step = labelStep(bins, wide, ({ length }) => length + 2);
  const labels = bins.flatMap(({ from }, i) => (i % step === 0 ? [{ at: i * wide, text: String(from) }] : []));
  return labels.reduce((line, { at, text }) => `${line.padEnd(at)}${text}`, '');
}

function legendOf(bins: readonly Bin[]): string {
  const steps = LEVELS.map((most, i) => `${SHADES[i]}${NO_BREAK}${figures(most).replace('.0e', 'e')}`).join('  ');
  const most = Math.max(...bins.map(({ from, to }) => to - from + 1));
  const many = most > 1 ? ` of up to ${most} positions` : '';
  return `A cell is the largest difference of a layer's tensors${many}, in units of the noise, up to: ${steps}  ${SHADES.at(-1)}${NO_BREAK}more, or NaN.`;
}
