/** A kernel against float64 for inputs that are hard: within what it declares, and without hiding a fault. */
import { expect, it } from 'vitest';
import type { AttentionKernel } from '../../attention/kernel/kernel.js';
import { reference } from '../../attention/kernel/reference.js';
import { flat, zerosLike } from '../../src/tensor/tensor.js';
import { ADVERSARIES, faulty, hopeless, truthErrorOf, vanishing } from '../support/adversarial.js';

export function errorSuite(kernel: AttentionKernel): void {
  it.each(ADVERSARIES)('is within its bound of the truth: $name', async (adversary) => {
    const { error, bound } = await truthErrorOf(kernel, adversary);
    expect(error).toBeLessThanOrEqual(bound);
  });

  const places = ['q', 'keys', 'values'] as const;
  const faults = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  it.each(places.flatMap((where) => faults.map((fault) => ({ where, fault }))))(
    'shows $fault in $where where the reference does, and nowhere else',
    async ({ where, fault }) => {
      const [expected, found] = [faulty(where, fault), faulty(where, fault)];
      reference.attend([expected]);
      await kernel.attend([found]);
      const finite = (call: typeof found) => [...flat(call.out_THV)].map(Number.isFinite);
      expect(finite(found)).toEqual(finite(expected));
      expect(finite(found)).toContain(false);
    },
  );

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('shows %d in a value whose weight vanishes', async (fault) => {
    const call = vanishing(fault);
    await kernel.attend([call]);
    expect([...flat(call.out_THV)]).toEqual([Number.NaN, 1]);
  });

  it('gives NaN beside a sink of Infinity, as a softmax does', async () => {
    const { call } = ADVERSARIES.find(({ name }) => name === 'T = 1')!;
    const out_THV = zerosLike(call.out_THV, call.out_THV.shape);
    await kernel.attend([{ ...call, out_THV, sinkLogits_H: Float32Array.of(Number.POSITIVE_INFINITY) }]);
    expect([...flat(out_THV)].every(Number.isNaN)).toBe(true);
  });

  it('gives NaN where every score is -Infinity', async () => {
    const call = hopeless();
    await kernel.attend([call]);
    expect([...flat(call.out_THV)]).toEqual([Number.NaN, Number.NaN]);
  });
}
