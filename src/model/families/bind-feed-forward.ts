/** Feed-forward layers and experts, in the forms that checkpoints store them. */

import type { Linear } from '../../math/linear.js';
import type { DenseConfig, ExpertsConfig, FeedForwardConfig, GatedConfig } from '../config.js';
import { type LinearStorage, outputsOf, type WeightReader } from '../weight-reader.js';
import type { DenseWeights, ExpertsWeights, FeedForwardWeights, GatedWeights } from '../weights.js';
import { named } from './named.js';

/** Where they stand, within a layer. */
export interface FeedForwardNames {
  readonly dense: DenseNames;
  readonly experts?: ExpertsNames;
}

/** `packed`: gate and up in one matrix, the gate's outputs first. */
type DenseNames =
  | { readonly gate?: string; readonly up: string; readonly down: string }
  | { readonly packed: string; readonly down: string };

export interface ExpertsNames {
  readonly router: string;
  /** The tensor of the routing correction, whole; without it there is none. */
  readonly correction?: string;
  readonly each: ((expert: number) => DenseNames) | StackedNames;
  readonly shared?: DenseNames;
  readonly sharedGate?: string;
}

/** All experts in two tensors, and two of biases with `_bias` after their names. */
interface StackedNames {
  /** [E, D, 2 F], or outputs first [E, 2 F, D] */
  readonly gateUp: string;
  /** [E, F, D], or outputs first [E, D, F] */
  readonly down: string;
  readonly storage: LinearStorage;
  /** The outputs of gate and up are halves, or take turns. */
  readonly order: 'halves' | 'turns';
}

interface Storage {
  readonly feedForward: FeedForwardNames;
  readonly storage: LinearStorage;
}

export function bindFeedForward(
  config: FeedForwardConfig,
  width: number,
  layer: string,
  reader: WeightReader,
  { feedForward: names, storage }: Storage,
): FeedForwardWeights {
  if (config.kind !== 'experts') return bindDense(config, width, layer, reader, names.dense, storage);
  return bindExperts(config, width, layer, reader, named(names.experts, 'experts'));
}

function bindDense(
  config: DenseConfig,
  width: number,
  layer: string,
  reader: WeightReader,
  names: DenseNames,
  storage: LinearStorage = 'outputs-first',
): DenseWeights {
  const read = (name: string, outputs: number, inputs: number) =>
    reader.linear(`${layer}.${name}`, outputs, inputs, config.bias, storage);
  const down = read(names.down, width, config.width);
  if ('packed' in names) {
    const both = read(names.packed, 2 * config.width, width);
    return {
      kind: 'gated',
      gate: outputsOf(both, range(0, config.width)),
      up: outputsOf(both, range(config.width, config.width)),
      down,
    };
  }
  const up = read(names.up, config.width, width);
  if (config.kind === 'plain') return { kind: 'plain', up, down };
  return { kind: 'gated', gate: read(named(names.gate, 'a gate'), config.width, width), up, down };
}

function range(from: number, count: number, step = 1): number[] {
  return Array.from({ length: count }, (_, i) => from + i * step);
}

function bindExperts(
  config: ExpertsConfig,
  width: number,
  layer: string,
  reader: WeightReader,
  names: ExpertsNames,
): ExpertsWeights {
  const { count, expert, shared, routerBias } = config;
  const { each } = names;
  const gated = (of: GatedConfig, own: DenseNames) => bindDense(of, width, layer, reader, own) as GatedWeights;
  return {
    kind: 'experts',
    router: reader.linear(`${layer}.${names.router}`, count, width, routerBias),
    correction: names.correction === undefined ? null : reader.vectorKept(`${layer}.${names.correction}`, count),
    experts:
      typeof each === 'function'
        ? range(0, count).map((e) => gated(expert, each(e)))
        : unstacked(config, width, layer, reader, each),
    shared: shared && {
      feedForward: gated(shared.feedForward, named(names.shared, 'a shared expert')),
      gate: shared.gate
        ? reader.linear(`${layer}.${named(names.sharedGate, 'a gate of the shared expert')}`, 1, width, false)
        : null,
    },
  };
}

function unstacked(
  { count, expert }: ExpertsConfig,
  width: number,
  layer: string,
  reader: WeightReader,
  { gateUp, down, storage, order }: StackedNames,
): GatedWeights[] {
  const both = expertsOf(`${layer}.${gateUp}`, count, 2 * expert.width, width, expert.bias, storage, reader);
  const out = expertsOf(`${layer}.${down}`, count, width, expert.width, expert.bias, storage, reader);
  const [gateFrom, upFrom, step] = order === 'halves' ? [0, expert.width, 1] : [0, 1, 2];
  return both.map((own, e) => ({
    kind: 'gated',
    gate: outputsOf(own, range(gateFrom, expert.width, step)),
    up: outputsOf(own, range(upFrom, expert.width, step)),
    down: out[e]!,
  }));
}

/** One tensor of all experts' matrices -> each expert's linear layer. */
function expertsOf(
  name: string,
  count: number,
  outputs: number,
  inputs: number,
  bias: boolean,
  storage: LinearStorage,
  reader: WeightReader,
): Linear[] {
  const biases = bias ? reader.vector(`${name}_bias`, [count, outputs]) : null;
  return reader.stack(name, count, outputs, inputs, storage).map((weight, e) => ({
    weight,
    bias: biases ? biases.subarray(e * outputs, (e + 1) * outputs) : null,
    ...(biases && { biasApart: true }), // `GptOssExperts` of transformers
  }));
}
