/** How arrays of rows grow while a sequence is fed: the rule, and what it comes to. */

/** Arrays begin with `first` rows or what is needed, double when they are full, and never hold more than `most`, in whole runs of `run`. */
export interface Growth {
  readonly first: number;
  readonly most: number;
  readonly run: number;
}

/** Tokens come in a pass of `first`, then by `step`, until there are `total`: (total - first) is a multiple of step. */
export interface Passes {
  readonly first: number;
  readonly step: number;
  readonly total: number;
}

/** The capacity of arrays of `capacity` rows once `needed` must fit. */
export function grown(capacity: number, needed: number, { first, most, run }: Growth): number {
  if (needed <= capacity) return capacity;
  return Math.min(Math.ceil(Math.max(needed, 2 * capacity, first) / run) * run, most);
}

/** The capacity after all passes. Only the passes that make arrays grow are gone through, so this takes log2(total) steps. */
export function grownBy({ first, step, total }: Passes, growth: Growth, initial = 0): number {
  const end = Math.min(total, growth.most);
  let capacity = grown(initial, Math.min(first, end), growth);
  while (capacity < end) {
    const needed = first + Math.ceil((capacity + 1 - first) / step) * step; // tokens after the first pass that does not fit
    capacity = grown(capacity, needed, growth);
  }
  return capacity;
}
