import { test } from '@fast-check/vitest';
import fc from 'fast-check';
import { expect } from 'vitest';
import { expertOrder, ordered } from '../../../src/reference/dump/expert-order.js';

const row = fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 3, maxLength: 3 });

test.prop([fc.array(row, { maxLength: 5 })])(
  'brings experts in ascending order row by row, and weights with them',
  (rows) => {
    const experts = Float64Array.from(rows.flat());
    const weights = Float32Array.from(rows.flatMap((row, r) => row.map((expert) => 100 * r + expert)));
    const order = expertOrder(experts, 3);
    expect([...ordered(experts, order)]).toEqual(rows.flatMap((row) => [...row].sort((a, b) => a - b)));
    expect([...ordered(weights, order)]).toEqual(
      rows.flatMap((row, r) => [...row].sort((a, b) => a - b).map((expert) => 100 * r + expert)),
    );
  },
);
