/** A heatmap of tensors and positions as SVG. */
import type { TensorComparison } from '../src/reference/compare/comparison.js';
import { figures, plural } from '../src/reference/compare/numbers.js';
import { isGood } from '../src/reference/compare/words.js';
import { type Bin, binsOf, type Cell, cellsOf, groupsOf, labelStep, levelOf } from './compare-groups.js';
import { xmlEscaped } from './escape.js';

/** Rows are thinner where there are many, and then only layers have their names. */
const ROW = { least: 3, most: 15, all: 1200, named: 11 } as const;
const MOST_BINS = 120;
const LABEL = 250;
const WIDTH = 960;
const TOP = 22;

/** @returns an svg element whose cells have titles; '' if no tensor has positions */
export function heatmapSvg(tensors: readonly TensorComparison[]): string {
  const bins = binsOf(tensors, MOST_BINS);
  if (bins.length === 0) return '';
  const rowHeight = Math.max(ROW.least, Math.min(ROW.most, Math.floor(ROW.all / tensors.length)));
  const height = TOP + tensors.length * rowHeight + 6;
  const cell = Math.min((WIDTH - LABEL) / bins.length, 36);
  const rows = tensors.map((tensor, i) => {
    const runs = runsOf(cellsOf([tensor], bins), bins).map((run) => rectOf(run, cell, rowHeight));
    const not = tensor.problem !== null && rowHeight >= ROW.named ? '<text class="tick" x="4" y="10">cannot be compared</text>' : ''; // biome-ignore format: one thought
    return `<g transform="translate(${LABEL} ${TOP + i * rowHeight})">${runs.join('')}${not}</g>\n`;
  });
  const label = `Heatmap of ${plural(tensors.length, 'tensor')} and ${plural(bins.length, 'column')} of positions`;
  return [
    `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${label}">\n`,
    ticksOf(bins, cell),
    ...labelsOf(tensors, rowHeight),
    ...rows,
    '</svg>\n',
  ].join('');
}

/** Neighbouring cells that look the same. */
interface Run {
  readonly from: number;
  to: number;
  readonly positions: { readonly from: number; to: number };
  worst: Cell;
}

function runsOf(cells: readonly (Cell | null)[], bins: readonly Bin[]): Run[] {
  const runs: Run[] = [];
  for (const [i, cell] of cells.entries()) {
    if (cell === null) continue;
    const last = runs.at(-1);
    if (last && last.to === i - 1 && looksLike(last.worst, cell)) {
      last.to = i;
      last.positions.to = bins[i]!.to;
      if (cell.ratio > last.worst.ratio) last.worst = cell;
    } else runs.push({ from: i, to: i, positions: { ...bins[i]! }, worst: cell });
  }
  return runs;
}

const looksLike = (a: Cell, b: Cell) => a.verdict === b.verdict && levelOf(a.ratio) === levelOf(b.ratio);

function rectOf({ from, to, positions, worst }: Run, cell: number, height: number): string {
  const [x, width] = [round(from * cell), round((to - from + 1) * cell - (cell > 6 ? 1 : 0))];
  const where =
    positions.from === positions.to ? `position ${positions.from}` : `positions ${positions.from}-${positions.to}`;
  const most = `${positions.from === positions.to ? '' : 'up to '}${figures(worst.ratio)} x the noise`;
  const at = positions.from === positions.to ? '' : `, at ${worst.position}`;
  const title = xmlEscaped(`${worst.tensor}, ${where}: ${worst.verdict}, ${most}${at}`);
  return `<rect class="${cellClass(worst)}" x="${x}" width="${width}" height="${height >= ROW.named ? height - 1 : height}"><title>${title}</title></rect>`;
}

/** Colour by verdict, strength by level. */
function cellClass({ verdict, ratio }: Pick<Cell, 'verdict' | 'ratio'>): string {
  if (isGood(verdict)) return verdict === 'identical' ? 'cell identical' : 'cell noise';
  return `cell ${verdict} level${levelOf(ratio)}`;
}

function ticksOf(bins: readonly Bin[], cell: number): string {
  const step = labelStep(bins, cell, ({ length }) => 7 * length + 10);
  const ticks = bins.map(({ from }, i) =>
    i % step === 0 && LABEL + i * cell + 7 * `${from}`.length <= WIDTH
      ? `<text class="tick" x="${round(LABEL + i * cell)}" y="14">${from}</text>`
      : '',
  );
  return `<text class="tick" x="0" y="14">position</text>${ticks.join('')}\n`;
}

/** In the middle of what they name. */
function labelsOf(tensors: readonly TensorComparison[], rowHeight: number): string[] {
  const labelled = rowHeight >= ROW.named ? tensors.map(({ name }) => ({ name, rows: 1 })) : groupsOf(tensors).map(({ name, tensors: of }) => ({ name, rows: of.length })); // biome-ignore format: two cases
  let [row, end] = [0, Number.NEGATIVE_INFINITY];
  return labelled.map(({ name, rows }) => {
    const y = TOP + (row + rows / 2) * rowHeight + 3;
    row += rows;
    if (y < end) return '';
    end = y + ROW.named;
    const short = name.length > 38 ? `${name.slice(0, 37)}…` : name;
    return `<text class="name" text-anchor="end" x="${LABEL - 8}" y="${round(y)}">${xmlEscaped(short)}</text>\n`;
  });
}

const round = (pixels: number) => Math.round(pixels * 10) / 10;
