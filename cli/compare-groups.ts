/** A comparison by layer and position: what tables and heatmaps have their rows and cells of. */
import { type TensorComparison, VERDICTS, type Verdict } from '../src/reference/compare/comparison.js';
import { ratioOrder } from '../src/reference/compare/words.js';
import { layerOfPoint } from '../src/reference/trace/format.js';

/** The tensors of a layer, or one that belongs to none. */
export interface Group {
  /** `layers.3`, `final_norm` */
  readonly name: string;
  readonly tensors: readonly TensorComparison[];
}

/** In the order of their first tensors. */
export function groupsOf(tensors: readonly TensorComparison[]): Group[] {
  const groups = new Map<string, TensorComparison[]>();
  for (const tensor of tensors) {
    const layer = layerOfPoint(tensor.name);
    const name = layer === null ? tensor.name : `layers.${layer}`;
    const group = groups.get(name);
    if (group) group.push(tensor);
    else groups.set(name, [tensor]);
  }
  return [...groups].map(([name, of]) => ({ name, tensors: of }));
}

/** Some neighbouring positions. */
export interface Bin {
  readonly from: number;
  readonly to: number;
}

/** All positions of these tensors in at most `room` bins, as many in each but the last. */
export function binsOf(tensors: readonly TensorComparison[], room: number): Bin[] {
  const positions = new Set<number>();
  for (const { rows } of tensors) for (const { position } of rows) positions.add(position);
  const all = [...positions].sort((a, b) => a - b);
  const size = Math.max(Math.ceil(all.length / Math.max(room, 1)), 1);
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => {
    const bin = all.slice(i * size, (i + 1) * size);
    return { from: bin[0]!, to: bin.at(-1)! };
  });
}

/** Every so many bins have a label, so that the longest one has room. @param of a bin @param ofText of a label, in the same units */
export function labelStep(bins: readonly Bin[], of: number, ofText: (label: string) => number): number {
  const longest = ofText(String(bins.at(-1)?.from ?? 0));
  const least = Math.max(Math.ceil(longest / of), 1);
  return [1, 2, 5, 10, 20, 25, 50, 100].find((step) => step >= least) ?? least;
}

/** The worst row of some tensors at some positions. */
export interface Cell {
  readonly verdict: Verdict;
  readonly ratio: number;
  readonly position: number;
  readonly tensor: string;
}

/** One for each bin; null: nothing was compared there. @param bins of these tensors, and maybe of others */
export function cellsOf(tensors: readonly TensorComparison[], bins: readonly Bin[]): (Cell | null)[] {
  const cells = bins.map((): Cell | null => null);
  for (const { name, rows } of tensors) {
    let bin = 0;
    for (const row of rows) {
      while (row.position > bins[bin]!.to) bin++;
      if (isWorse(row, cells[bin]!)) cells[bin] = { ...row, tensor: name };
    }
  }
  return cells;
}

function isWorse(row: Pick<Cell, 'verdict' | 'ratio'>, cell: Cell | null): boolean {
  if (cell === null) return true;
  const by = VERDICTS.indexOf(row.verdict) - VERDICTS.indexOf(cell.verdict);
  return by > 0 || (by === 0 && ratioOrder(row.ratio) > ratioOrder(cell.ratio));
}

/** What each level of a heatmap reaches up to, in units of the noise; there is one more above the last. */
export const LEVELS = [1, 3, 10, 30, 100, 1e3, 1e4, 1e6] as const;

/** From 0 (no more than the noise) to `LEVELS.length` (also NaN). */
export function levelOf(ratio: number): number {
  const level = LEVELS.findIndex((most) => ratio <= most);
  return level < 0 ? LEVELS.length : level;
}

/** Names that differ in their numbers alone are one, with `*` for these: `model.layers.*.bias (32)`. */
export function patternsOf(names: readonly string[]): string[] {
  const patterns = new Map<string, string[]>();
  for (const name of names) {
    const pattern = name.replace(/\d+/g, '*');
    patterns.set(pattern, [...(patterns.get(pattern) ?? []), name]);
  }
  return [...patterns].map(([pattern, of]) => (of.length === 1 ? of[0]! : `${pattern} (${of.length})`));
}
