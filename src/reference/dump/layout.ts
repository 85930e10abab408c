/**
 * All ways in which a tensor of their shape can hold one of ours. Each is a sum of a place for every axis: where row r of ours lies in theirs, plus
 * where its head h does, plus where its value k does. So whatever moves whole axes, pads one or turns the values of a head around composes.
 */
import type { Rope } from '../../math/rope.js';
import { type Floats, floatsLike } from '../../tensor/tensor.js';
import { type Arrangement, AS_IT_IS, arrangements, type Places } from './arrangement.js';
import { fusedPlaces } from './fused.js';

/** One way to read theirs as ours. */
export interface Layout {
  /** For people: `as it is`, `heads first`, `a batch axis, flattened heads, rope-interleaved`. */
  readonly name: string;
  /** Which of our rows theirs are, ascending; null: all of them. `read` gives these alone. */
  readonly rows: readonly number[] | null;
  /** Axes lie in another order than ours. */
  readonly moved: boolean;
  /** Their values in our order. @param values all of theirs, as the file has them */
  read(values: Floats): Floats;
}

export interface LayoutHints {
  /** A letter for each of our axes, as traces have them: RD, RHK, RHS, ... (`TRACE_AXES`); R is rows, S keys, which theirs may have more of. */
  readonly axes: string;
  /** Of queries and keys: what rope turns, values [from, from + size) of each head, and which two make a pair in ours. null: nothing. */
  readonly rope?: { readonly from: number; readonly size: number; readonly pairs: Rope['pairs'] } | null;
  /** Theirs holds queries, keys and values, of which ours is one. */
  readonly fused?: {
    readonly part: 'q' | 'k' | 'v';
    readonly queryHeads: number;
    readonly keyValueHeads: number;
  } | null;
}

/**
 * The layouts that fit both shapes, the most plausible first; none where no layout does. Which of them it is, values must say: a tensor as many
 * rows long as it is wide may be transposed or not.
 */
export function layoutsOf(
  theirs: readonly number[],
  ours: readonly number[],
  { axes, rope = null, fused = null }: LayoutHints,
): Layout[] {
  const found = fused
    ? fusedPlaces(theirs, ours, fused).map((arrangement) => ({ ...arrangement, rows: null }))
    : rowChoices(theirs, ours).flatMap(({ shape, name, rows }) =>
        arrangements(theirs, shape, axes).map((arrangement) => ({
          ...arrangement,
          name: joined(arrangement.name, name),
          rows,
        })),
      );
  const all = [...found, ...found.flatMap((layout) => turned(layout, rope))];
  return unique(all).map(({ name, places, rows, moved }) => ({
    name,
    rows,
    moved,
    read: (values) => gathered(values, places),
  }));
}

interface Found extends Arrangement {
  readonly rows: readonly number[] | null;
}

/** All rows; where theirs cannot have as many, the last or the first ones: programs keep the logits of the last token, or of the prompt. */
function rowChoices(
  theirs: readonly number[],
  ours: readonly number[],
): { shape: readonly number[]; name: string; rows: readonly number[] | null }[] {
  const all = { shape: ours, name: '', rows: null };
  const [rows = 1, ...rest] = ours;
  const size = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);
  const count = size(theirs) / size(rest);
  if (!Number.isInteger(count) || count < 1 || count >= rows) return [all];
  const shape = [count, ...rest];
  const from = (first: number) => Array.from({ length: count }, (_, i) => first + i);
  const many = count === 1 ? 'row' : `${count} rows`;
  return [
    { shape, name: `the last ${many} alone`, rows: from(rows - count) },
    { shape, name: `the first ${many} alone`, rows: from(0) },
  ];
}

/** The same with the other order of the values that rope turns in pairs: their 2j and 2j + 1 are our j and j + half, or the other way round. */
function turned({ name, places, rows, moved }: Found, rope: LayoutHints['rope']): Found[] {
  const values = places.at(-1)!;
  if (!rope || rope.from + rope.size > values.length) return [];
  const half = rope.size / 2;
  const place = (value: number): number => {
    const j = value - rope.from;
    if (j < 0 || j >= rope.size) return value;
    if (rope.pairs === 'half-split') return rope.from + (j < half ? 2 * j : 2 * (j - half) + 1);
    return rope.from + (j % 2 === 0 ? j / 2 : half + (j - 1) / 2);
  };
  const other = rope.pairs === 'half-split' ? 'rope-interleaved' : 'rope in halves';
  return [
    {
      name: joined(name, other),
      places: [...places.slice(0, -1), values.map((_, value) => values[place(value)]!)],
      rows,
      moved,
    },
  ];
}

function joined(one: string, other: string): string {
  if (other === '') return one;
  return one === AS_IT_IS ? other : `${one}, ${other}`;
}

/** Different words may be for the same thing where axes are 1 long; the first are the plainest. */
function unique(layouts: readonly Found[]): Found[] {
  const seen = new Set<string>();
  return layouts.filter(({ places, rows }) => {
    const key = JSON.stringify([places, rows]);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function gathered(values: Floats, places: Places): Floats {
  const size = places.reduce((product, axis) => product * axis.length, 1);
  const ordered = floatsLike(values, size);
  const inner = places.at(-1) ?? [0];
  const outer = places.slice(0, -1);
  for (let at = 0; at < size; at += inner.length) {
    let [rest, from] = [at / inner.length, 0];
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      const length = outer[axis]!.length;
      from += outer[axis]![rest % length]!;
      rest = Math.floor(rest / length);
    }
    for (let i = 0; i < inner.length; i++) ordered[at + i] = values[from + inner[i]!]!;
  }
  return ordered;
}
