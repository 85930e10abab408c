/** Mistakes of a dump itself: the pass was right, and something else was saved. */
import type { Floats } from '../../tensor/tensor.js';
import type { Mutant } from './mutant.js';

/** Each row of logits through a function of its own. */
const ofLogits =
  (change: (row: Floats) => void) =>
  (point: string, values: Floats, width: number): Floats => {
    if (point !== 'logits') return values;
    const own = values.slice();
    for (let at = 0; at < own.length; at += width) change(own.subarray(at, at + width));
    return own;
  };

/** log of the sum of exponents. */
function logSum(row: Floats): number {
  let greatest = Number.NEGATIVE_INFINITY;
  for (const value of row) greatest = Math.max(greatest, value);
  let sum = 0;
  for (const value of row) sum += Math.exp(value - greatest);
  return greatest + Math.log(sum);
}

function logSoftmaxInPlace(row: Floats): void {
  const whole = logSum(row);
  for (let i = 0; i < row.length; i++) row[i] = row[i]! - whole;
}

function softmaxInPlace(row: Floats): void {
  const whole = logSum(row);
  for (let i = 0; i < row.length; i++) row[i] = Math.exp(row[i]! - whole);
}

export const SAVED_MUTANTS: readonly Mutant[] = [
  {
    name: 'logits-log-softmax',
    group: 'what was saved',
    mistake: 'log-probabilities were saved as logits (after log_softmax)',
    symptom: 'each row of logits is off by a number of its own, and every token is right',
    fix: 'dump what the head gives',
    variants: () => [{ label: '', saves: ofLogits(logSoftmaxInPlace) }],
  },
  {
    name: 'logits-softmax',
    group: 'what was saved',
    mistake: 'probabilities were saved as logits (after softmax)',
    symptom: 'all logits lie between 0 and 1, and every token is right',
    fix: 'dump what the head gives',
    variants: () => [{ label: '', saves: ofLogits(softmaxInPlace) }],
  },
  {
    name: 'rows-shifted',
    group: 'what was saved',
    mistake: 'rows of logits are shifted by one token, as labels are: each row is the next one, or the one before it',
    symptom: 'all rows are wrong, and each is a neighbour of ours',
    fix: 'row i is what the pass gives for token i',
    variants: () => [1, -1].map((by) => ({ label: by > 0 ? 'the next' : 'the one before', saves: shiftedRows(by) })),
  },
  {
    name: 'logits-scaled',
    group: 'what was saved',
    mistake: 'logits were divided by a temperature before they were saved',
    symptom: 'all logits are wrong by one factor, and every token is right',
    fix: 'dump what the head gives, before sampling changes it',
    variants: () =>
      [0.5, 0.6, 0.7, 0.8, 0.9, 1.3, 1.5, 2].map((temperature) => ({
        label: `temperature ${temperature}`,
        saves: ofLogits((row) => {
          for (let i = 0; i < row.length; i++) row[i] = row[i]! / temperature;
        }),
      })),
  },
];

/** The row at either end that there is none for stays. */
function shiftedRows(by: number) {
  return (point: string, values: Floats, width: number): Floats => {
    if (point !== 'logits') return values;
    const own = values.slice();
    const rows = values.length / width;
    for (let row = 0; row < rows; row++) {
      const from = Math.min(Math.max(row + by, 0), rows - 1);
      own.set(values.subarray(from * width, (from + 1) * width), row * width);
    }
    return own;
  };
}
