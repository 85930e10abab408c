/** Mistakes of quantised caches: they are seen in runs that keep their rows so (kvDtype). */

import type { RowStore, StoredForm } from '../../../attention/stored.js';
import type { CacheBlock } from '../../../attention/streams.js';
import type { Model } from '../../model/load.js';
import { FLOAT8 } from '../../tensor/dtype.js';
import { flat, floatsLike, type Tensor, tensor } from '../../tensor/tensor.js';
import { withCalls } from './kernels.js';
import { type Mutant, when } from './mutant.js';

type IntegerForm = Extract<StoredForm, { kind: 'integers' }>;

const integers = ({ components: { format } }: Model) => (format.kind === 'integer' ? format : null);

/** Rows of a block as they are stored, read in another way. */
function withStored(
  block: CacheBlock,
  change: (value: Tensor, store: RowStore, stream: number, from: number) => Tensor,
): CacheBlock {
  const { positions, read, stored } = block;
  if (!stored) return block;
  return {
    positions,
    read(name) {
      const stream = stored.store.kind.streams.findIndex((own) => own.name === name);
      return change(read(name), stored.store, stream, stored.from);
    },
  };
}

const readOtherwise = (change: Parameters<typeof withStored>[1]) =>
  withCalls((call) => ({ ...call, blocks: call.blocks.map((block) => withStored(block, change)) }));

/** Groups of a row [heads, dim], where they go along tokens. */
const groupsOf = (dim: number, heads: number, { group }: IntegerForm) => heads * Math.ceil(dim / group);

/** What a value was made with, and what it is read with: scale and minimum of another group. */
const scaledBy = (otherGroup: (slot: number, group: number, slots: number, groups: number) => number) =>
  readOtherwise((rows, store, stream, from) => {
    const { form } = store.kind.streams[stream]!;
    if (form.kind !== 'integers' || form.along !== 'token') return rows;
    const [slots, heads, dim] = rows.shape as [number, number, number];
    const [, scales, minima] = store.arraysOf(stream);
    const at = (array: typeof scales, i: number) => (array ? (form.scaleTable?.[array[i]!] ?? array[i]!) : 0);
    const groups = groupsOf(dim, heads, form);
    const [x, y] = [flat(rows), floatsLike(rows.data, rows.size)];
    for (let i = 0; i < x.length; i++) {
      const [slot, head, d] = [Math.floor(i / (heads * dim)), Math.floor(i / dim) % heads, i % dim];
      const group = head * Math.ceil(dim / form.group) + Math.floor(d / form.group);
      const [own, other] = [(from + slot) * groups + group, from * groups + otherGroup(slot, group, slots, groups)];
      const scale = at(scales, own);
      const code = scale === 0 ? 0 : (x[i]! - at(minima, own)) / scale;
      y[i] = Math.round(code) * at(scales, other) + at(minima, other);
    }
    return tensor(y, rows.shape);
  });

export const QUANTISED_MUTANTS: readonly Mutant[] = [
  {
    name: 'kv-scale-axis',
    group: 'quantised cache',
    mistake:
      'the scales of stored rows are taken along the wrong axis: those of [tokens, groups] read as [groups, tokens], or one for all tokens',
    symptom: 'keys and values have the right sign and the wrong size',
    fix: 'a scale for each token and group, in the order in which they were stored',
    variants: (model) => {
      if (integers(model)?.keys !== 'token') return [];
      return [
        { label: 'transposed', byPass: true, attends: scaledBy((slot, group, slots) => group * slots + slot) },
        { label: 'one for all', byPass: true, attends: scaledBy((_, group) => group) },
      ];
    },
  },
  {
    name: 'kv-nibbles-swapped',
    group: 'quantised cache',
    mistake: 'the two 4-bit values of a byte are exchanged',
    symptom: 'scores and values are garbage, of the right size',
    fix: 'the even value lies in the low half of a byte',
    variants: (model) => {
      const format = integers(model);
      return when(format?.dtype === 'int4' && format.keys === 'token' && format.group % 2 === 0, {
        attends: readOtherwise((rows) => {
          const [x, y] = [flat(rows), floatsLike(rows.data, rows.size)];
          for (let i = 0; i < x.length; i++) y[i] = x[i ^ 1] ?? x[i]!;
          return tensor(y, rows.shape);
        }),
      });
    },
  },
  {
    // What was stored is all that is known: a value that is the largest number by itself counts as one beyond it.
    name: 'kv-fp8-unsaturated',
    group: 'quantised cache',
    mistake: 'values beyond the largest 8-bit float are not clamped to it, and become NaN (e4m3) or infinite (e5m2)',
    symptom: 'right for a while, and NaN from one token on',
    fix: 'clamp before the conversion (torch does not), or choose larger scales',
    variants: (model) => {
      const { format } = model.components;
      return when(format.kind === 'fp8', {
        attends: readOtherwise((rows, store, stream) => {
          const { form } = store.kind.streams[stream]!;
          if (form.kind !== 'codes' || form.bits !== 8) return rows;
          const isE4m3 = model.components.format.name.startsWith('fp8_e4m3');
          const { largest } = FLOAT8[isE4m3 ? 'F8_E4M3' : 'F8_E5M2'];
          const [, heads, dim] = rows.shape as [number, number, number];
          const [x, y] = [flat(rows), floatsLike(rows.data, rows.size)];
          for (let i = 0; i < x.length; i++) {
            const scale = form.scale_G?.[Math.floor(i / dim) % heads] ?? 1;
            const isFull = Math.abs(x[i]!) >= Math.fround(largest * scale);
            y[i] = !isFull ? x[i]! : isE4m3 ? Number.NaN : Math.sign(x[i]!) * Number.POSITIVE_INFINITY;
          }
          return tensor(y, rows.shape);
        }),
      });
    },
  },
];
