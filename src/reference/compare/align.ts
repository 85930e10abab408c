/** Their tensor in our layout, row beside row. */
import type { Floats } from '../../tensor/tensor.js';
import { AS_IT_IS } from '../dump/arrangement.js';
import type { Dump, DumpTensor } from '../dump/dump.js';
import { type Layout, type LayoutHints, layoutsOf } from '../dump/layout.js';
import { kindOfPoint, TRACE_AXES } from '../trace/format.js';
import type { TurnedValues } from '../trace/index.js';
import { gathered, rowsTheyMayHave } from './rows.js';

export interface Aligned {
  /** Those that both have, ascending. */
  readonly positions: readonly number[];
  readonly theirs: Floats;
  readonly ours: Floats;
  readonly rowShape: readonly number[];
  /** The rows of ours. */
  readonly ourRows: readonly number[];
  /** null: as it stands. */
  readonly layout: string | null;
  /** Their shape fits our order of axes as well, where their values do not agree. */
  readonly doubtful: boolean;
}

/** Our tensor, and what is known of it. */
export interface OurTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Floats;
  /** Of its rows. */
  readonly positions: readonly number[];
  /** Rows of this position and later ones are of other tokens. */
  readonly end: number;
  /** What rope turns of its heads, where that matters; null: nothing. */
  readonly rope: TurnedValues | null;
}

/**
 * Tries the layouts in which a tensor of their shape can hold ours, and takes the one whose values lie nearest to ours.
 * @param fused where theirs holds queries, keys and values: which of them ours is
 * @param settled the layout, where another tensor of the same kind has shown it
 * @returns a sentence where there is none
 */
export function align(
  dump: Dump,
  theirs: DumpTensor,
  ours: OurTensor,
  fused: LayoutHints['fused'] = null,
  settled?: Aligned['layout'],
): Aligned | string {
  const values = theirs.read();
  const axes = TRACE_AXES[kindOfPoint(ours.name)]!;
  const tried = new Set<string>();
  const found: Found[] = [];
  for (const list of rowsTheyMayHave(dump, ours.positions)) {
    if (tried.has(list.join())) continue;
    tried.add(list.join());
    const rowShape = rowShapeOf(theirs.shape, ours, list.length);
    const layouts = layoutsOf(theirs.shape, [list.length, ...rowShape], { axes, rope: ours.rope, fused });
    for (const layout of layouts) {
      const aligned = paired(layout, values, list, ours, rowShape);
      if (aligned) found.push({ aligned, moved: layout.moved });
    }
    if (layouts.some(({ rows }) => rows === null)) break; // other lists are for tensors that this one does not fit
  }
  const shown = settled === undefined ? [] : found.filter(({ aligned }) => aligned.layout === settled);
  const best = nearestOf(shown.length > 0 ? shown : found);
  if (best) return { ...best.aligned, doubtful: best.moved && found.some(({ moved }) => !moved) };
  return `${theirs.name} has shape [${theirs.shape.join(', ')}], which in no known layout holds ${ours.name} of shape [${ours.shape.join(', ')}].`;
}

interface Found {
  readonly aligned: Omit<Aligned, 'doubtful'>;
  /** Axes lie in another order than ours. */
  readonly moved: boolean;
}

/**
 * The one whose values lie nearest to ours, the plainest of equals. Where ours has nothing to do with theirs, all layouts are about as far off, and one that is
 * nearer by less than half (of squares) is no other layout.
 */
function nearestOf(found: readonly Found[]): Found | undefined {
  const errors = found.map(({ aligned }) => errorOf(aligned));
  const least = Math.min(...errors);
  const plain = found.findIndex(
    ({ aligned, moved }, i) => aligned.layout === null && !moved && errors[i]! <= 2 * least,
  );
  return found[plain < 0 ? errors.indexOf(least) : plain];
}

/** Scores of a shorter run have fewer keys. */
function rowShapeOf(theirShape: readonly number[], { name, shape }: OurTensor, rows: number): readonly number[] {
  const keys = theirShape.at(-1)!;
  const overKeys = /\.(scores|probabilities)$/.test(name);
  return overKeys && keys < shape[2]! && keys >= rows ? [shape[1]!, keys] : shape.slice(1);
}

function paired(
  layout: Layout,
  values: Floats,
  all: readonly number[],
  { positions, values: ourValues, shape, end }: OurTensor,
  rowShape: readonly number[],
): Omit<Aligned, 'doubtful'> | null {
  const theirPositions = layout.rows ? layout.rows.map((row) => all[row]!) : all;
  const rowAt = new Map(positions.flatMap((position, row) => (position < end ? [[position, row]] : [])));
  const theirRows = [...theirPositions.keys()].filter((row) => rowAt.has(theirPositions[row]!));
  if (theirRows.length === 0) return null;
  const ourRows = theirRows.map((row) => rowAt.get(theirPositions[row]!)!);
  const [width, ourWidth] = [sizeOfShape(rowShape), sizeOfShape(shape.slice(1))];
  const ours = gathered(ourValues, ourRows, ourWidth);
  return {
    positions: theirRows.map((row) => theirPositions[row]!),
    theirs: gathered(layout.read(values), theirRows, width),
    ours: width === ourWidth ? ours : cutKeys(ours, shape[2]!, rowShape[1]!),
    rowShape,
    ourRows,
    layout: layout.name === AS_IT_IS ? null : layout.name,
  };
}

/** The first keys of each head. */
function cutKeys(values: Floats, from: number, to: number): Floats {
  const heads = values.length / from;
  return gathered(
    values.filter((_, i) => i % from < to),
    Array.from({ length: heads }, (_, head) => head),
    to,
  );
}

export function sizeOfShape(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** Over values that are numbers on both sides: what is NaN or infinite lies somewhere in every layout. */
function errorOf({ theirs, ours }: Omit<Aligned, 'doubtful'>): number {
  let sum = 0;
  for (let i = 0; i < ours.length; i++) {
    if (!Number.isFinite(theirs[i]) || !Number.isFinite(ours[i])) continue;
    sum += (theirs[i]! - ours[i]!) ** 2;
  }
  return sum;
}
