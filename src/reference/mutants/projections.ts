/** Mistakes of the projections of attention: which is which, and how it lies in a tensor. */
import type { GroupedConfig, GroupedWeights } from '../../../attention/strategy/strategy.js';
import type { Linear } from '../../math/linear.js';
import type { Model } from '../../model/load.js';
import { outputsOf } from '../../model/weight-reader.js';
import { transposed } from '../../tensor/matrix.js';
import { floatsLike } from '../../tensor/tensor.js';
import { groupedOf, groupedWeights, matrixOf, valuesOf } from './change.js';
import { type Mutant, type Variant, when } from './mutant.js';

const isMultiHead = ({ queryHeads, keyValueHeads }: GroupedConfig) => queryHeads === keyValueHeads;

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

export const PROJECTION_MUTANTS: readonly Mutant[] = [
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
    fix: 'GPT-2, Phi-3: [q; k; v]; GPT-NeoX, BLOOM: of each head its query, key and value (Falcon has a third order, by key/value head)',
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
    symptom: 'what the projection makes is off by the same vector in every row',
    fix: 'load o_proj.bias',
    variants: ({ weights }) =>
      when(
        weights.layers.some(({ attention }) => attention.kind === 'grouped' && attention.output.bias),
        { parts: groupedWeights((own) => ({ ...own, output: { ...own.output, bias: null } })) },
      ),
  },
];
