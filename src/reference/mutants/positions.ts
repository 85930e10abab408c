/** Mistakes of positions: learned ones, and those of later passes. */
import type { Model } from '../../model/load.js';
import { gatheredRows } from '../../tensor/matrix.js';
import { type Change, hasPositions } from './change.js';
import { movedPositions } from './moved.js';
import { type Mutant, when } from './mutant.js';

const learnedOf = ({ config }: Model) => config.embedding.positions;

/** The learned row of a position is another one. */
const learnedRows =
  (rowOf: (row: number, first: number, rows: number) => number): Change =>
  ({ config, weights }) => {
    const { positions } = weights.embedding;
    if (!positions || !config.embedding.positions) return { config, weights };
    const { first } = config.embedding.positions;
    const moved = gatheredRows(
      positions,
      Array.from({ length: positions.rows }, (_, row) => clampedTo(rowOf(row, first, positions.rows), positions.rows)),
    );
    return { config, weights: { ...weights, embedding: { ...weights.embedding, positions: moved } } };
  };

function clampedTo(row: number, rows: number): number {
  return Math.min(Math.max(row, 0), rows - 1);
}

export const POSITION_MUTANTS: readonly Mutant[] = [
  {
    name: 'position-off-by-one',
    group: 'positions',
    mistake: 'the learned positions are read one row too far, or too near',
    symptom: 'every row is off a little',
    fix: 'the first token stands at position 0, in the row that the model keeps for it (OPT: row 2)',
    variants: (model) => {
      const learned = learnedOf(model);
      if (!learned) return [];
      return [
        { label: 'too far', parts: learnedRows((row, _, rows) => Math.min(row + 1, rows - 1)) },
        { label: 'too near', parts: learnedRows((row) => Math.max(row - 1, 0)) },
      ];
    },
    sameAs: { 'padding-counted': 'one token of padding', 'position-offset-missing': 'an offset of one' },
  },
  {
    name: 'position-offset-missing',
    group: 'positions',
    mistake: 'the learned position of the first token is read from row 0, where this model keeps it further on',
    symptom: 'every row is off',
    fix: 'add the offset (2 in OPT)',
    variants: (model) =>
      when((learnedOf(model)?.first ?? 0) > 0, { parts: learnedRows((row, first) => Math.max(row - first, 0)) }),
  },
  {
    name: 'positions-missing',
    group: 'positions',
    mistake: 'learned positions are not added to the embedded tokens',
    symptom: 'every row is off, the first too',
    fix: 'add the row of each position to the row of its token',
    variants: (model) =>
      when(learnedOf(model), {
        parts: ({ config, weights }) => ({
          weights,
          config: { ...config, embedding: { ...config.embedding, positions: null } },
        }),
      }),
  },
  {
    name: 'padding-counted',
    group: 'positions',
    mistake: 'positions count the padding on the left, which is masked',
    symptom: 'a sequence alone is right, and wrong in a batch with longer ones',
    fix: 'count positions from the first real token (cumulated mask less one)',
    variants: (model) => {
      const learned = learnedOf(model);
      if (!learned) return []; // what rope and ALiBi do depends on distances alone
      return [1, 2, 3, 4, 5, 6, 7, 8].map((count) => ({
        label: `${count}`,
        parts: learnedRows((row, _, rows) => Math.min(row + count, rows - 1)),
      }));
    },
  },
  {
    name: 'position-off-by-one-later',
    group: 'positions',
    mistake:
      'after the first pass positions are off by one: the length of the cache is counted before, or after, the new token',
    symptom: 'the prompt is right, and generated tokens degrade',
    fix: 'the first new token stands at the position that follows the last stored one',
    variants: (model) =>
      hasPositions(model)
        ? [1, -1].map((by) => ({
            label: by > 0 ? 'too far' : 'too near',
            splice: movedPositions((_, start) => (start > 0 ? by : 0), 'both'),
            byPass: true,
          }))
        : [],
  },
  {
    name: 'position-reset',
    group: 'positions',
    mistake: 'positions begin at 0 in every pass: what is fed after the prompt, or each chunk of it, begins anew',
    symptom: 'the prompt is right, and generated text falls apart',
    fix: 'add the number of stored tokens to the positions of new ones',
    variants: (model) =>
      when(hasPositions(model), { splice: movedPositions((_, start) => -start, 'both'), byPass: true }),
  },
];
