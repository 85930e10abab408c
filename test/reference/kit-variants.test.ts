import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeKit } from '../../src/reference/kit/index.js';
import { KIT_VARIANTS } from '../../src/reference/kit/variants.js';
import { expectSameBits } from '../support/bits.js';
import { kitTrace } from '../support/kit.js';

const folder = mkdtempSync(join(tmpdir(), 'touchstone-kit-'));
const kit = join(folder, 'kit');
beforeAll(() => writeKit(kit, { only: KIT_VARIANTS.map(({ checkpoint }) => checkpoint) }));
afterAll(() => rmSync(folder, { recursive: true }));

type Reader = (position: number, head: number, i: number) => number;

/** The definition: softmax(q k / sqrt K) v. */
function attended(
  q_K: Float64Array,
  count: number,
  key: (position: number, i: number) => number,
  value: (position: number, i: number) => number,
): number[] {
  const scores = Array.from({ length: count }, (_, j) => {
    return q_K.reduce((sum, x, i) => sum + x * key(j, i), 0) / Math.sqrt(q_K.length);
  });
  const weights = scores.map((score) => Math.exp(score - Math.max(...scores)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return Array.from(q_K, (_, i) => weights.reduce((sum, weight, j) => sum + (weight / total) * value(j, i), 0));
}

describe('traces that were run otherwise', () => {
  it.each(KIT_VARIANTS.filter(({ options }) => options.cache))(
    '$checkpoint.$name has the bits of $checkpoint',
    ({ checkpoint, name }) => {
      const [plain, other] = [kitTrace(kit, checkpoint).values, kitTrace(kit, `${checkpoint}.${name}`).values];
      for (const [tensor, values] of plain)
        if (!tensor.includes('.cache.')) expectSameBits(other.get(tensor)!, values, tensor);
    },
  );

  it('have pages that do not stand in order', () => {
    const { values } = kitTrace(kit, 'gqa.paged');
    const table = [...values.get('block_table')!];
    expect(table).not.toEqual([...table].sort((a, b) => a - b));
    expect(new Set(table).size).toBe(table.length);
    for (const layer of [0, 1]) {
      expect([...values.get(`layers.${layer}.cache.block_rows`)!]).toEqual([4, 4, 4, 4, 4, 4, 4, 4, 4, 1]);
      for (const [cached, made] of [
        ['k', 'k_rope'],
        ['v', 'v'],
      ] as const) {
        expectSameBits(
          values.get(`layers.${layer}.cache.${cached}`)!,
          values.get(`layers.${layer}.attention.${made}`)!,
        );
      }
    }
  });

  it('have all that a paged kernel needs: blocks at their pages, NaN in all others', () => {
    const { values } = kitTrace(kit, 'gqa.paged');
    const [H, G, K, page] = [8, 2, 6, 4];
    const table = [...values.get('block_table')!];
    for (const layer of [0, 1]) {
      const [k, v] = ['k', 'v'].map((stream) => {
        const pool = new Float64Array((Math.max(...table) + 2) * page * G * K).fill(Number.NaN);
        const rows = values.get(`layers.${layer}.cache.${stream}`)!;
        for (const [i, at] of table.entries()) {
          pool.set(rows.subarray(i * page * G * K, (i + 1) * page * G * K), at * page * G * K);
        }
        return (j: number, h: number, i: number) =>
          pool[((table[Math.floor(j / page)]! * page + (j % page)) * G + Math.floor(h / (H / G))) * K + i]!;
      }) as [Reader, Reader];
      const q = values.get(`layers.${layer}.attention.q_rope`)!.subarray(-H * K);
      const heads = values.get(`layers.${layer}.attention.heads`)!.subarray(-H * K);
      for (let h = 0; h < H; h++) {
        const own = attended(
          q.subarray(h * K, (h + 1) * K),
          37,
          (j, i) => k(j, h, i),
          (j, i) => v(j, h, i),
        );
        for (const [i, value] of own.entries()) expect(Math.abs(value - heads[h * K + i]!)).toBeLessThan(1e-5);
      }
    }
  });

  it('have a ring with the window alone', () => {
    const { values } = kitTrace(kit, 'window.ring');
    expect([...values.get('layers.0.cache.positions')!]).toEqual([28, 29, 30, 31, 32, 33, 34, 35, 36]);
  });

  it('have the absorbed form near the naive one, and latents in its cache', () => {
    const [naive, absorbed] = [kitTrace(kit, 'mla').values, kitTrace(kit, 'mla.absorbed').values];
    const [one, other, noise] = [naive.get('logits')!, absorbed.get('logits')!, naive.get('noise.logits')!];
    const distance = Math.max(...one.map((value, i) => Math.abs(value - other[i]!)));
    expect(distance).toBeGreaterThan(0);
    expect(distance).toBeLessThan(8 * Math.max(...noise));
    expectSameBits(absorbed.get('layers.1.cache.latent')!, absorbed.get('layers.1.attention.latent')!);
    expect(absorbed.get('layers.0.attention.latent')).toEqual(naive.get('layers.0.attention.latent'));
  });
});
