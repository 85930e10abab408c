/** Mistakes of caches: rows that are missing, stale, or others' */

import type { Floats } from '../../tensor/tensor.js';
import { hasPositions } from './change.js';
import { withRows, withSight } from './kernels.js';
import { movedPositions } from './moved.js';
import { type Mutant, when } from './mutant.js';

/** Each row p of a stream becomes a copy of another one, or zeros (null). */
const rowsFrom = (sourceOf: (row: number, stored: number, pageSize: number) => number | null) =>
  withRows((rows, _, heads, dim, __, model) => {
    const width = heads * dim;
    const [from, stored] = [rows.slice(), rows.length / width];
    for (let row = 0; row < stored; row++) {
      const source = sourceOf(row, stored, model.options.pageSize);
      rowInto(rows, row, from, source !== null && source < stored ? source : null, width);
    }
  });

function rowInto(rows: Floats, row: number, from: Floats, source: number | null, width: number): void {
  const target = rows.subarray(row * width, (row + 1) * width);
  if (source === null) target.fill(0);
  else target.set(from.subarray(source * width, (source + 1) * width));
}

export const CACHE_MUTANTS: readonly Mutant[] = [
  {
    name: 'cache-stale',
    group: 'cache',
    mistake: 'after the first pass queries meet the cache as it was before their own keys were written',
    symptom: 'the prompt is right, and generated tokens do not see themselves',
    fix: 'write the new rows first, read then',
    variants: () => [
      {
        label: '',
        byPass: true,
        attends: withSight((query, key, start, call) => (start === 0 || key < start) && call.visibility.sees(query, key)), // biome-ignore format: one thought
      },
    ],
  },
  {
    name: 'cache-row-lost',
    group: 'cache',
    mistake: 'the first row of a later pass is written over the last one that was stored',
    symptom: 'the prompt is right, and each generated token forgets the one before it',
    fix: 'write at the slot that follows the last stored one',
    variants: () => [
      {
        label: '',
        byPass: true,
        attends: withSight((query, key, start, call) => (start === 0 || key !== start - 1) && call.visibility.sees(query, key)), // biome-ignore format: one thought
      },
    ],
  },
  {
    name: 'page-off-by-one',
    group: 'cache',
    mistake: 'the last slot of each page is looked for in the page after it',
    symptom: 'right up to the first full page, then off a little, at the same places again and again',
    fix: 'page floor(position / page size), slot position mod page size',
    variants: () => [
      {
        label: '',
        byPass: true,
        attends: rowsFrom((row, _, page) => (row % page === page - 1 ? row + page : row)),
      },
    ],
  },
  {
    name: 'block-table-swapped',
    group: 'cache',
    mistake: 'two entries of the block table are exchanged: the first page and the last one',
    symptom: 'right within one page, garbage from the second page on',
    fix: 'entry i of a sequence names the page of its positions i P to (i + 1) P - 1',
    variants: () => [
      {
        label: '',
        byPass: true,
        attends: rowsFrom((row, stored, size) => {
          const last = Math.floor((stored - 1) / size);
          const page = Math.floor(row / size);
          if (page === 0) return last * size + row;
          return page === last ? row % size : row;
        }),
      },
    ],
  },
  {
    name: 'prefix-elsewhere',
    group: 'cache',
    mistake: 'the rows of a prefix (a page) are reused from a text in which it stood one page further on',
    symptom: 'a text alone is right, and wrong where a prefix was found in the cache',
    fix: 'reuse rows at the same positions alone, or store keys before rope',
    variants: (model) =>
      when(hasPositions(model), {
        splice: (mutated) => {
          const size = mutated.options.pageSize;
          return movedPositions((position) => (position < size ? size : 0), 'both')(mutated);
        },
      }),
  },
];
