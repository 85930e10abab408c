/** Projections of attention, in the forms that checkpoints store them. */

import type {
  AttentionWeights,
  GroupedConfig,
  GroupedWeights,
  LatentConfig,
  LatentWeights,
} from '../../../attention/strategy/strategy.js';
import type { Linear } from '../../math/linear.js';
import type { NormWeights } from '../../math/norm.js';
import { floatsLike } from '../../tensor/tensor.js';
import type { LayerConfig } from '../config.js';
import { type LinearStorage, outputsOf, type WeightReader } from '../weight-reader.js';
import { named } from './named.js';

/** Where a layer's projections stand, within the layer. */
export type AttentionNames = (SeparateNames | PackedNames | LatentNames) & {
  readonly output: string;
  /** With a function, each head's norm is a tensor of its own. */
  readonly queryNorm?: string | ((head: number) => string);
  readonly keyNorm?: string | ((head: number) => string);
  /** The tensor of learned sinks, whole. */
  readonly sinks?: string;
};

interface SeparateNames {
  readonly query: string;
  readonly key: string;
  readonly value: string;
}

/** Queries, keys and values in one matrix. */
interface PackedNames {
  readonly packed: string;
  /**
   * `by-part`: all queries, then all keys, then all values. `by-group`: for each key/value head, the query heads that share it, then its key, then
   * its value (GPT-NeoX, BLOOM, Falcon).
   */
  readonly order: 'by-part' | 'by-group';
}

/** DeepSeek's names are the only ones. */
interface LatentNames {
  readonly latent: string;
}

interface Storage {
  readonly attention: AttentionNames;
  readonly storage: LinearStorage;
}

export function bindAttention(
  layer: LayerConfig,
  width: number,
  name: string,
  reader: WeightReader,
  names: Storage,
): AttentionWeights {
  const { attention } = layer;
  return attention.kind === 'latent'
    ? bindLatent(attention, layer, width, name, reader, names.attention)
    : bindGrouped(attention, layer, width, name, reader, names);
}

function bindGrouped(
  shape: GroupedConfig,
  { attentionBias: bias }: LayerConfig,
  width: number,
  layer: string,
  reader: WeightReader,
  { attention: names, storage }: Storage,
): GroupedWeights {
  const { queryHeads, keyValueHeads, headDim, qkNorm, sinks } = shape;
  const read = (name: string, outputs: number, inputs: number, biased: boolean) =>
    reader.linear(`${layer}.${name}`, outputs, inputs, biased, storage);
  const [queries, keys] = [queryHeads * headDim, keyValueHeads * headDim];
  const projections =
    'packed' in names
      ? unpacked(read(names.packed, queries + 2 * keys, width, bias.qkv), shape, names.order)
      : 'query' in names
        ? {
            query: read(names.query, queries, width, bias.qkv),
            key: read(names.key, keys, width, bias.qkv),
            value: read(names.value, keys, width, bias.qkv),
          }
        : named<never>(undefined, 'query, key and value');
  const norm = (name: AttentionNames['queryNorm'], heads: number) =>
    qkNorm && bindQkNorm(qkNorm, heads, headDim, layer, named(name, 'qkNorm'), reader);
  return {
    kind: 'grouped',
    ...projections,
    output: read(names.output, width, queries, bias.output),
    sinks: sinks ? reader.vector(`${layer}.${named(names.sinks, 'sinks')}`, queryHeads) : null,
    queryNorm: norm(names.queryNorm, queryHeads),
    keyNorm: norm(names.keyNorm, keyValueHeads),
  };
}

function unpacked(
  all: Linear,
  { queryHeads, keyValueHeads, headDim }: GroupedConfig,
  order: PackedNames['order'],
): { query: Linear; key: Linear; value: Linear } {
  const perGroup = queryHeads / keyValueHeads;
  /** Rows of `count` heads; `placeOf` gives a head's place in the packed matrix. */
  const heads = (count: number, placeOf: (head: number) => number) =>
    outputsOf(
      all,
      Array.from({ length: count * headDim }, (_, i) => placeOf(Math.floor(i / headDim)) * headDim + (i % headDim)),
    );
  if (order === 'by-part') {
    return {
      query: heads(queryHeads, (h) => h),
      key: heads(keyValueHeads, (g) => queryHeads + g),
      value: heads(keyValueHeads, (g) => queryHeads + keyValueHeads + g),
    };
  }
  const group = perGroup + 2;
  return {
    query: heads(queryHeads, (h) => Math.floor(h / perGroup) * group + (h % perGroup)),
    key: heads(keyValueHeads, (g) => g * group + perGroup),
    value: heads(keyValueHeads, (g) => g * group + perGroup + 1),
  };
}

function bindQkNorm(
  { norm, scope }: NonNullable<GroupedConfig['qkNorm']>,
  heads: number,
  headDim: number,
  layer: string,
  name: NonNullable<AttentionNames['queryNorm']>,
  reader: WeightReader,
): NormWeights {
  if (typeof name === 'string') {
    const shape = { head: headDim, 'each-head': [heads, headDim], 'heads-together': heads * headDim }[scope];
    return reader.norm(`${layer}.${name}`, norm, shape);
  }
  const each = Array.from({ length: heads }, (_, h) => reader.norm(`${layer}.${name(h)}`, norm, headDim));
  return { weight: joined(each.map(({ weight }) => weight)), bias: joined(each.map(({ bias }) => bias)) };
}

function joined(each: readonly NormWeights['weight'][]): NormWeights['weight'] {
  const [first] = each;
  if (!first) return null;
  const all = floatsLike(first, first.length * each.length);
  for (const [h, own] of each.entries()) all.set(own!, h * first.length);
  return all;
}

function bindLatent(
  shape: LatentConfig,
  { attentionBias: bias }: LayerConfig,
  width: number,
  layer: string,
  reader: WeightReader,
  names: AttentionNames,
): LatentWeights {
  const name = `${layer}.${named('latent' in names ? names.latent : undefined, 'a latent')}`;
  const { queryHeads, queryRank, latentRank, nopeDim, ropeDim, valueDim, norm } = shape;
  const queries = queryHeads * (nopeDim + ropeDim);
  return {
    kind: 'latent',
    query:
      queryRank === null
        ? reader.linear(`${name}.q_proj`, queries, width, false)
        : {
            down: reader.linear(`${name}.q_a_proj`, queryRank, width, bias.qkv),
            norm: reader.norm(`${name}.q_a_layernorm`, norm, queryRank),
            up: reader.linear(`${name}.q_b_proj`, queries, queryRank, false),
          },
    compress: reader.linear(`${name}.kv_a_proj_with_mqa`, latentRank + ropeDim, width, bias.qkv),
    latentNorm: reader.norm(`${name}.kv_a_layernorm`, norm, latentRank),
    expand: reader.linear(`${name}.kv_b_proj`, queryHeads * (nopeDim + valueDim), latentRank, false),
    output: reader.linear(`${layer}.${names.output}`, width, queryHeads * valueDim, bias.output),
  };
}
