/** Queries, keys and values in one tensor. */
import type { Arrangement } from './arrangement.js';
import type { LayoutHints } from './layout.js';

/**
 * Where one of them lies in rows that hold all three, in any shape with rows first: `by-part`, all queries, then all keys, then all values (GPT-2, Phi-3);
 * or by group, for each key/value head the query heads that share it, then its key, then its value (GPT-NeoX, BLOOM, Falcon).
 */
export function fusedPlaces(
  theirs: readonly number[],
  [rows, heads, dim]: readonly number[],
  { part, queryHeads, keyValueHeads }: NonNullable<LayoutHints['fused']>,
): Arrangement[] {
  const width = (queryHeads + 2 * keyValueHeads) * dim!;
  const dense = theirs.filter((length) => length !== 1);
  const fits =
    theirs.reduce((product, length) => product * length, 1) === rows! * width && (rows === 1 || dense[0] === rows);
  if (!fits) return [];
  const perGroup = queryHeads / keyValueHeads;
  const byPart = (head: number) => head + { q: 0, k: queryHeads, v: queryHeads + keyValueHeads }[part];
  const byGroup = (head: number) => {
    if (part === 'q') return Math.floor(head / perGroup) * (perGroup + 2) + (head % perGroup);
    return head * (perGroup + 2) + perGroup + (part === 'k' ? 0 : 1);
  };
  const placed = (place: (head: number) => number) => [
    Array.from({ length: rows! }, (_, row) => row * width),
    Array.from({ length: heads! }, (_, head) => place(head) * dim!),
    Array.from({ length: dim! }, (_, value) => value),
  ];
  return [
    { name: 'one of queries, keys and values', places: placed(byPart), moved: false },
    { name: 'one of queries, keys and values by group', places: placed(byGroup), moved: false },
  ];
}
