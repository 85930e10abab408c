/** Orders of whole axes, in any of the shapes that they are written with. */

/** For each of our axes, where its i-th index lies in theirs: the sum over axes is the place of a value. */
export type Places = readonly (readonly number[])[];

export interface Arrangement {
  readonly name: string;
  readonly places: Places;
  /** Axes lie in another order than ours. */
  readonly moved: boolean;
}

export const AS_IT_IS = 'as it is';

/**
 * Every order of our axes in memory that their shape can be a description of: axes of 1 do not count, axes that follow each other in ours too may be
 * one (flattened; heads and rows in one, or values before heads, are a mistake of reshape, not a layout), and the shape may be written backwards, as ggml's `ne` is. The most plausible first.
 */
export function arrangements(theirs: readonly number[], ours: readonly number[], axes: string): Arrangement[] {
  const dense = theirs.filter((length) => length !== 1);
  const kept = ours.flatMap((length, axis) => (length === 1 ? [] : [axis]));
  const backwards = [...dense].reverse();
  const ones = theirs.length - dense.length > ours.length - kept.length ? ['a batch axis'] : [];
  const found: Arrangement[] = [];
  const keysFirst = (order: readonly number[]) =>
    axes[2] === 'S' && order.includes(0) && order.indexOf(2) < order.indexOf(0); // queries for keys: a mistake too
  for (const order of orders(kept)) {
    if (keysFirst(order)) continue;
    for (const [shape, written] of [
      [dense, []],
      [backwards, ['a shape written backwards']],
    ] as const) {
      if (written.length > 0 && likelihood(order) > 0) continue; // in ggml, axes stand as they are or heads first
      const lengths = lengthsOf(shape, order, kept, ours, axes);
      if (lengths === null || (shape.length === 1 && order.length > 1 && !isAscending(order))) continue;
      const padded = lengths.some((length, i) => length !== ours[order[i]!]) ? ['keys padded'] : [];
      const flattened = shape.length < order.length ? ['flattened heads'] : [];
      const name = [...ones, ...written, ...orderName(order), ...flattened, ...padded].join(', ') || AS_IT_IS;
      found.push({ name, places: placesOf(order, lengths, ours), moved: !isAscending(order) });
    }
  }
  return found;
}

/** All orders of up to three axes, as they are first. */
function orders(axes: readonly number[]): number[][] {
  if (axes.length <= 1) return [[...axes]];
  const all = axes.flatMap((first) => orders(axes.filter((axis) => axis !== first)).map((rest) => [first, ...rest]));
  return all.sort((a, b) => likelihood(a) - likelihood(b)); // biome-ignore format: one step
}

/** Heads first is usual; axes that are turned around altogether are not. */
function likelihood(order: readonly number[]): number {
  const known = ['1,0,2', '1,2,0', '0,2,1'].indexOf(order.join());
  return isAscending(order) ? -1 : known < 0 ? 9 : known;
}

const isAscending = (order: readonly number[]): boolean => order.every((axis, i) => i === 0 || axis > order[i - 1]!);

function orderName(order: readonly number[]): string[] {
  if (isAscending(order)) return [];
  const name = { '1,0,2': 'heads first', '0,2,1': 'heads last', '1,2,0': 'transposed' }[order.join()];
  return [name ?? 'transposed'];
}

/**
 * The lengths of axes in this order, if a shape describes them: each of its lengths is one axis, or the product of some that follow each other. Theirs may
 * have more keys than ours: llama.cpp's cache is a multiple of 32 long.
 */
function lengthsOf(
  shape: readonly number[],
  order: readonly number[],
  kept: readonly number[],
  ours: readonly number[],
  axes: string,
): number[] | null {
  const follows = (axis: number, before: number) => kept.indexOf(axis) === kept.indexOf(before) + 1;
  const lengths: number[] = [];
  let axis = 0;
  for (const whole of shape) {
    let product = 1;
    const begin = axis;
    while (axis < order.length && (axis === begin || (product < whole && follows(order[axis]!, order[axis - 1]!)))) {
      const own = ours[order[axis]!]!;
      const isPadded = axes[order[axis]!] === 'S' && axis === begin && whole > own;
      lengths.push(isPadded ? whole : own);
      product *= lengths.at(-1)!;
      axis++;
    }
    if (product !== whole) return null;
  }
  return axis === order.length ? lengths : null;
}

function placesOf(order: readonly number[], lengths: readonly number[], ours: readonly number[]): number[][] {
  const strides = new Map<number, number>();
  let stride = 1;
  for (let i = order.length - 1; i >= 0; i--) {
    strides.set(order[i]!, stride);
    stride *= lengths[i]!;
  }
  return ours.map((length, axis) => Array.from({ length }, (_, i) => i * (strides.get(axis) ?? 0)));
}
