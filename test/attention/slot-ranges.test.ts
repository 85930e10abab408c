/** Runs of slots against a set of the slots that are taken. */
import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { SlotRanges } from '../../attention/kernel/gpu/slot-ranges.js';

interface Run {
  from: number;
  count: number;
}

const step = fc.record({
  what: fc.constantFrom('take', 'take', 'give', 'shrink', 'extend'),
  at: fc.nat(7),
  count: fc.integer({ min: 1, max: 9 }),
});

describe('runs of slots', () => {
  test.prop([fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 })], { numRuns: 300 })(
    'never overlap, begin where they should, and leave no gap that would be large enough',
    (alignment, steps) => {
      const [ranges, runs] = [new SlotRanges(), [] as Run[]];
      for (const { what, at, count } of steps) {
        const run = runs[at % Math.max(runs.length, 1)];
        if (what === 'take') runs.push({ from: expectFirstFit(ranges, runs, count, alignment), count });
        else if (run && what === 'give') {
          ranges.give(run.from, run.count);
          runs.splice(runs.indexOf(run), 1);
        } else if (run && what === 'shrink' && run.count > 1) {
          ranges.give(run.from + run.count - 1, 1);
          run.count--;
        } else if (run && what === 'extend') expectExtended(ranges, runs, run, count);
        expectDisjoint(ranges, runs);
      }
    },
  );
});

const takenBy = (runs: readonly Run[]) =>
  new Set(runs.flatMap(({ from, count }) => Array.from({ length: count }, (_, i) => from + i)));

/** Takes a run, at the first place where it fits. */
function expectFirstFit(ranges: SlotRanges, runs: readonly Run[], count: number, alignment: number): number {
  const taken = takenBy(runs);
  const fits = (from: number) => !Array.from({ length: count }, (_, i) => from + i).some((slot) => taken.has(slot));
  let first = 0;
  while (!fits(first)) first += alignment;
  const from = ranges.take(count, alignment);
  expect(from).toBe(first);
  return from;
}

function expectExtended(ranges: SlotRanges, runs: readonly Run[], run: Run, more: number): void {
  const taken = takenBy(runs);
  const behind = Array.from({ length: more }, (_, i) => run.from + run.count + i);
  const free = !behind.some((slot) => taken.has(slot));
  const last = run.from + run.count === ranges.end || behind.at(-1)! < ranges.end;
  const extended = ranges.extend(run.from, run.count, more);
  expect(extended).toBe(free && last);
  if (extended) run.count += more;
}

function expectDisjoint(ranges: SlotRanges, runs: readonly Run[]): void {
  const total = runs.reduce((sum, { count }) => sum + count, 0);
  expect(takenBy(runs).size).toBe(total);
  expect(ranges.end).toBe(Math.max(...runs.map(({ from, count }) => from + count), 0));
}
