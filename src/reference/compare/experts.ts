/** Choices of a router: whether another one means anything. */
import { type Floats, floatsLike } from '../../tensor/tensor.js';
import type { Aligned } from './align.js';

/** The experts that a layer's router chooses by its logits [E], ascending; null: it has none. */
export type Chooser = (layer: number, logits_E: Floats) => readonly number[] | null;

/** Our logits of a router, and the greatest noise of each row of them. */
export interface RouterLogits {
  readonly layer: number;
  /** [R, E] */
  readonly values: Floats;
  readonly experts: number;
  readonly noise: readonly number[];
}

/** Beyond this the search for a tie ends. */
const FURTHEST = 2 ** 20;

/**
 * How far each row's choice lies from ours, in units of the noise of the router's logits: how much noise it takes to make ours choose as they
 * did. 0 where the choice is the same, Infinity where no noise does.
 * @param logits ours; null: unknown @param choose the router itself; null: unknown, and the nearest logits are taken for the nearest choice
 */
export function gapsOf(
  { theirs, ours, ourRows, rowShape }: Aligned,
  logits: RouterLogits | null,
  choose: Chooser | null,
): number[] {
  const k = rowShape[0]!;
  return ourRows.map((ourRow, row) => {
    const [a, b] = [theirs, ours].map((all) => [...all.subarray(row * k, (row + 1) * k)]) as [number[], number[]];
    const [theirOwn, ourOwn] = [a.filter((e) => !b.includes(e)), b.filter((e) => !a.includes(e))];
    if (theirOwn.length === 0 && ourOwn.length === 0) return 0;
    if (!logits || theirOwn.some((e) => !(e >= 0 && e < logits.experts))) return Number.POSITIVE_INFINITY;
    const own = logits.values.subarray(ourRow * logits.experts, (ourRow + 1) * logits.experts);
    const noise = logits.noise[ourRow]!;
    if (!choose) return distanceBetween(own, theirOwn, ourOwn) / noise;
    for (let size = 1; size <= FURTHEST; size *= 2) {
      const chosen = choose(logits.layer, pushed(own, size * noise, theirOwn, ourOwn));
      if (chosen && a.every((e) => chosen.includes(e))) return size;
    }
    return Number.POSITIVE_INFINITY;
  });
}

/** Logits with those of some experts raised, and of others lowered. */
function pushed(logits_E: Floats, by: number, up: readonly number[], down: readonly number[]): Floats {
  const moved = floatsLike(logits_E, logits_E.length);
  moved.set(logits_E);
  for (const e of up) moved[e] = moved[e]! + by;
  for (const e of down) moved[e] = moved[e]! - by;
  return moved;
}

function distanceBetween(logits_E: Floats, theirs: readonly number[], ours: readonly number[]): number {
  const logit = (e: number) => logits_E[e]!;
  return Math.abs(Math.max(...ours.map(logit)) - Math.min(...theirs.map(logit)));
}
