/** Mistakes of heads: which meets which, and how they lie in tensors. */
import type { AttentionCall } from '../../../attention/kernel/kernel.js';
import type { GroupedConfig, GroupedWeights } from '../../../attention/strategy/strategy.js';
import type { Linear } from '../../math/linear.js';
import type { Model } from '../../model/load.js';
import { outputsOf } from '../../model/weight-reader.js';
import { transposed } from '../../tensor/matrix.js';
import { flat, floatsLike, type Tensor, tensor, zerosLike } from '../../tensor/tensor.js';
import { groupedWeights, matrixOf, valuesOf } from './change.js';
import { withRows } from './kernels.js';
import { type Mutant, type Variant, when } from './mutant.js';

const groupedOf = ({ config }: Model): GroupedConfig[] =>
  config.layers.flatMap(({ attention }) => (attention.kind === 'grouped' ? [attention] : []));

const isMultiHead = ({ queryHeads, keyValueHeads }: GroupedConfig) => queryHeads === keyValueHeads;

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

/** Rows of [q; k; v], which lie side by side, read as if each head had its three together; or the other way round. */
function splitOtherwise(
  own: GroupedWeights,
  heads: number,
  dim: number,
  way: 'by head' | 'side by side',
): GroupedWeights {
  const parts = [own.query, own.key, own.value];
  const size = heads * dim;
  const fused: Linear = {
    weight: matrixOf('query, key and value', joined(parts.map(({ weight }) => valuesOf(weight))), 3 * size, own.query.weight.columns), // biome-ignore format: one thought
    bias: parts.every(({ bias }) => bias) ? (joinedBias(parts) ?? null) : null,
  };
  const read = (part: number) =>
    outputsOf(
      fused,
      Array.from({ length: size }, (_, row) => {
        const [head, i] = [Math.floor(row / dim), row % dim];
        if (way === 'by head') return (head * 3 + part) * dim + i; // where it is looked for; it lies at part * size + row
        const found = part * size + row; // of a tensor whose heads have their three together
        const [foundHead, foundPart] = [Math.floor(found / (3 * dim)), Math.floor(found / dim) % 3];
        return foundPart * size + foundHead * dim + (found % dim);
      }),
    );
  return { ...own, query: read(0), key: read(1), value: read(2) };
}

function joined(parts: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function joinedBias(parts: readonly Linear[]): Linear['bias'] {
  const biases = parts.map(({ bias }) => bias!);
  const all = floatsLike(
    biases[0]!,
    biases.reduce((sum, { length }) => sum + length, 0),
  );
  all.set(joined(biases.map((bias) => Float64Array.from(bias))));
  return all;
}

const turned = (own: Linear): Linear => ({ ...own, weight: transposed(own.weight) });

const isSquare = ({ weight }: Linear) => weight.rows === weight.columns;

function transposedProjections({ weights }: Model): readonly Variant[] {
  return (['query', 'output'] as const)
    .filter((name) => weights.layers.some(({ attention }) => attention.kind === 'grouped' && isSquare(attention[name])))
    .map((name) => ({
      label: name,
      parts: groupedWeights((own) => ({ ...own, [name]: isSquare(own[name]) ? turned(own[name]) : own[name] })),
    }));
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
  {
    name: 'kv-swapped',
    group: 'heads',
    mistake: 'keys and values are exchanged',
    symptom: 'all rows are wrong; the first token too',
    fix: 'look in which order a fused projection has queries, keys and values',
    variants: (model) =>
      when(groupedOf(model).length > 0, {
        parts: groupedWeights((own) => ({ ...own, key: own.value, value: own.key })),
      }),
  },
  {
    name: 'qk-swapped',
    group: 'heads',
    mistake: 'queries and keys are exchanged',
    symptom: 'the first token is right, and all others are wrong',
    fix: 'look in which order a fused projection has queries, keys and values',
    variants: (model) =>
      when(groupedOf(model).some(isMultiHead), {
        parts: groupedWeights((own, attention) =>
          isMultiHead(attention)
            ? { ...own, query: own.key, key: own.query, queryNorm: own.keyNorm, keyNorm: own.queryNorm }
            : own,
        ),
      }),
  },
  {
    name: 'qkv-split',
    group: 'heads',
    mistake:
      'a fused projection is split in the wrong order: queries, keys and values of each head together, or side by side',
    symptom: 'all rows are garbage, and no shape is wrong',
    fix: 'GPT-2, Phi-3: [q; k; v]; GPT-NeoX, BLOOM, Falcon: of each head its query, key and value',
    variants: (model) =>
      groupedOf(model).some(({ queryHeads, keyValueHeads }) => queryHeads === keyValueHeads && queryHeads > 1)
        ? (['by head', 'side by side'] as const).map((way) => ({
            label: `${way} for the other`,
            parts: groupedWeights((own, attention) =>
              isMultiHead(attention) ? splitOtherwise(own, attention.queryHeads, attention.headDim, way) : own,
            ),
          }))
        : [],
  },
  {
    name: 'projection-transposed',
    group: 'heads',
    mistake: 'a projection that is square is multiplied as its transpose',
    symptom: 'all rows are garbage, and no shape is wrong',
    fix: 'nn.Linear stores [outputs, inputs], Conv1D of GPT-2 [inputs, outputs]',
    variants: transposedProjections,
  },
  {
    name: 'qkv-bias-missing',
    group: 'heads',
    mistake: 'the biases of queries, keys and values are left out',
    symptom: 'every row is off, the first too',
    fix: 'load q_proj.bias, k_proj.bias and v_proj.bias',
    variants: ({ config, weights }) =>
      when(
        config.layers.some(({ attentionBias, attention }) => attentionBias.qkv && attention.kind === 'grouped') &&
          weights.layers.some(({ attention }) => attention.kind === 'grouped' && attention.value.bias),
        {
          parts: groupedWeights((own) => ({
            ...own,
            query: { ...own.query, bias: null },
            key: { ...own.key, bias: null },
            value: { ...own.value, bias: null },
          })),
        },
      ),
  },
  {
    name: 'output-bias-missing',
    group: 'heads',
    mistake: "the bias of attention's output projection is left out",
    symptom: 'every row is off by the same amount',
    fix: 'load o_proj.bias',
    variants: ({ weights }) =>
      when(
        weights.layers.some(({ attention }) => attention.kind === 'grouped' && attention.output.bias),
        { parts: groupedWeights((own) => ({ ...own, output: { ...own.output, bias: null } })) },
      ),
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
