/** Mistakes of heads: which meets which, and how they are joined. */
import type { AttentionCall } from '../../../attention/kernel/kernel.js';
import { flat, floatsLike, type Tensor, tensor, zerosLike } from '../../tensor/tensor.js';
import { groupedOf } from './change.js';
import { withRows } from './kernels.js';
import { type Mutant, when } from './mutant.js';

/** Query head h at the place where it meets key/value head h mod G. */
const tiledPlaces = (heads: number, groups: number) =>
  Array.from({ length: heads }, (_, h) => (h % groups) * (heads / groups) + Math.floor(h / groups));

/** Heads of x [T, H, K] moved to other places. */
function moved(x_THK: Tensor, places: readonly number[]): Tensor {
  const [tokens, heads, dim] = x_THK.shape as [number, number, number];
  const [x, y_THK] = [flat(x_THK), zerosLike(x_THK, x_THK.shape)];
  for (let t = 0; t < tokens; t++) {
    for (const [h, place] of places.entries()) {
      y_THK.data.set(x.subarray((t * heads + h) * dim, (t * heads + h + 1) * dim), (t * heads + place) * dim);
    }
  }
  return y_THK;
}

function inverse(places: readonly number[]): number[] {
  return places.map((_, place) => places.indexOf(place));
}

/** A call whose query heads meet other keys. It is computed with heads at other places, which are put back. */
function tiled(call: AttentionCall, groups: number): { readonly call: AttentionCall; putBack(): void } {
  const heads = call.q_THK.shape[1]!;
  const places = tiledPlaces(heads, groups);
  const at = <Value>(values: ArrayLike<Value>) => inverse(places).map((h) => values[h]!);
  const out_THV = zerosLike(call.out_THV, call.out_THV.shape);
  const { alibi, sinkLogits_H } = call;
  const sinks = sinkLogits_H && floatsLike(sinkLogits_H, heads);
  sinks?.set(at(sinkLogits_H!));
  return {
    call: {
      ...call,
      q_THK: moved(call.q_THK, places),
      alibi: alibi && { ...alibi, slopes: at(alibi.slopes) },
      sinkLogits_H: sinks,
      out_THV,
    },
    putBack: () => flat(call.out_THV).set(flat(moved(out_THV, inverse(places)))),
  };
}

export const HEAD_MUTANTS: readonly Mutant[] = [
  {
    name: 'heads-tiled',
    group: 'heads',
    mistake:
      'key/value heads are tiled (0 1 0 1 ...) where they should be repeated (0 0 1 1 ...): query head h meets head h mod G',
    symptom: 'all rows are wrong from the first token on',
    fix: 'query head h meets key/value head floor(h / (H / G)): repeat_interleave, not repeat',
    variants: (model) =>
      when(
        groupedOf(model).some(({ queryHeads, keyValueHeads }) => keyValueHeads > 1 && keyValueHeads < queryHeads),
        {
          attends: (layer, { config }) => {
            const { attention } = config.layers[layer.index]!;
            if (attention.kind !== 'grouped') return layer;
            return {
              ...layer,
              kernel: {
                ...layer.kernel,
                async attend(calls, scratch) {
                  const others = calls.map((call) => tiled(call, attention.keyValueHeads));
                  await layer.kernel.attend(
                    others.map(({ call }) => call),
                    scratch,
                  );
                  for (const { putBack } of others) putBack();
                },
              },
            };
          },
        },
      ),
  },
  {
    name: 'kv-head-first',
    group: 'heads',
    mistake: 'all query heads meet the first key/value head',
    symptom: 'the first group of heads is right, and all others are wrong',
    fix: 'repeat each key/value head for its group of query heads',
    variants: (model) =>
      when(
        groupedOf(model).some(({ keyValueHeads }) => keyValueHeads > 1),
        {
          attends: withRows((rows, _, heads, dim) => {
            for (let at = 0; at < rows.length; at += heads * dim) {
              for (let g = 1; g < heads; g++) rows.copyWithin(at + g * dim, at, at + dim);
            }
          }),
        },
      ),
  },
  {
    name: 'heads-not-transposed',
    group: 'heads',
    mistake: 'what heads have made, [heads, tokens, dim], is joined without putting tokens first',
    symptom: 'a single token is right, and a prompt is garbage: values of tokens are mixed',
    fix: 'transpose to [tokens, heads, dim] before the heads are joined (and make it contiguous)',
    variants: () => [
      {
        label: '',
        byPass: true,
        splice: () => (point, value) => (point.endsWith('.attention.heads') ? headsFirst(value) : value),
      },
    ],
  },
];

/** [T, H, V] -> the values of [H, T, V] in its place. */
function headsFirst(x_THV: Tensor): Tensor {
  const [tokens, heads, dim] = x_THV.shape as [number, number, number];
  const [x, y] = [flat(x_THV), floatsLike(x_THV.data, x_THV.size)];
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < heads; h++) {
      y.set(x.subarray((t * heads + h) * dim, (t * heads + h + 1) * dim), (h * tokens + t) * dim);
    }
  }
  return tensor(y, x_THV.shape);
}
